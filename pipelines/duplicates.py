"""Near duplicates: candidates by keys of hashes and vectors, a proof for each, groups derived from what was proven.

A comparison is complete under all that it has read: the versions of method and hash, whether the image's text and its
vector were there, and its role among the crowds of `filters.duplicate_candidates`. Where one of them has changed since, the
image is due again and its edges are replaced. So the edges are at every end of the step the proofs of just
those pairs that the images at hand make candidates, in whatever order they came, went and were read.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow as pa

from filters.duplicate_candidates import CROWDING, candidate_sql, roles_sql
from filters.duplicates import METHOD_VERSION, DuplicateEvidence, Proof, evidence_rows, groups, prove
from filters.scorers import SCORERS
from flywheel.records import Status
from flywheel.schemas import TABLES
from flywheel.workspace import Workspace, runs
from pipelines.engine import Progress, Settled, Step, StepReport, drive, outcome_rows
from pipelines.executors import Answers, Batch
from pipelines.executors.inline import InlineExecutor
from pipelines.profiles import recipe_of

STEP = "duplicates"
LAW = ("compared",)
_BATCH = 256
# Images whose candidates and evidence are looked up at once: each look scans all hashes, each pair is held. Our choice.
_AT_ONCE = 32_768
_READABLE = "('latin', 'han', 'kana', 'greek')"

Pair = tuple[str, str]


@dataclass(frozen=True, slots=True)
class _Due:
    """An image to compare, and what its comparison will be complete under."""

    image_id: str
    completion: str
    attempt: int


@dataclass(frozen=True, slots=True)
class _Known:
    """What the comparison of some due images reads: `candidates` and stored edges that are settled with each of them."""

    of: frozenset[str]
    evidence: Mapping[str, DuplicateEvidence]
    candidates: Mapping[str, Sequence[Pair]]
    stored: Mapping[Pair, Proof]
    stored_beside: Mapping[str, Sequence[Pair]]

    def proofs(self, image_id: str) -> dict[Pair, Proof]:
        """The candidates settled with this image that are one picture."""
        pairs = self.candidates.get(image_id, ())
        found = {(a, b): prove(self.evidence[a], self.evidence[b]) for a, b in pairs}
        return {pair: proof for pair, proof in found.items() if proof is not None}


def find(workspace: Workspace, progress: Progress) -> StepReport:
    """Compare what was not compared yet as it stands now, store proven edges, derive the groups.

    Counts `hot_buckets` and, as `capped`, the images that are compared with a few of one alone. Raises AnotherDriver.
    """
    report = drive(workspace, partial(_plan, workspace), InlineExecutor(), LAW, progress)
    if report.run_id is None and _derived_groups(workspace) is not None:  # a run was killed behind its last batch
        run = runs.start(workspace, STEP, _version())
        with run.recorded({}):
            regroup(workspace, run.run_id)
        run.end("finished", {})
    return report


def regroup(workspace: Workspace, run_id: str) -> None:
    """Derive `duplicate_groups` from the edges again, and replace the table where it differs.

    For a run that keeps others out: what is forgotten meanwhile must not come back.
    """
    derived = _derived_groups(workspace)
    if derived is not None:
        workspace.tables.replace("duplicate_groups", derived, run_id=run_id)


def _derived_groups(workspace: Workspace) -> pa.Table | None:
    """The groups as the edges have them now; None where the stored ones are the same."""
    edges = workspace.query(
        "SELECT e.*, l.width_px::BIGINT * l.height_px AS pixels_a, l.bytes AS bytes_a, "
        "r.width_px::BIGINT * r.height_px AS pixels_b, r.bytes AS bytes_b FROM duplicate_edges e "
        f"JOIN images l ON l.image_id = e.a JOIN images r ON r.image_id = e.b WHERE method_version = '{_version()}'"
    ).to_pylist()
    order = {(row[name], row[f"pixels_{name}"], row[f"bytes_{name}"]) for row in edges for name in ("a", "b")}
    members = groups(((row["a"], row["b"], _proof(row)) for row in edges), order)
    derived = [
        {"image_id": image, "representative_id": representative, "distance": distance, "proof": proof}
        for image, (representative, distance, proof) in sorted(members.items())
    ]
    if workspace.query("SELECT * FROM duplicate_groups ORDER BY image_id").to_pylist() == derived:
        return None
    return pa.Table.from_pylist(derived, schema=TABLES["duplicate_groups"].schema)


def _plan(workspace: Workspace) -> Step:
    images = _images(recipe_of(workspace).clip)
    roles = workspace.query(roles_sql(images, CROWDING))
    due = _due(workspace, images, roles)
    crowded = {"hot_buckets": roles["hot_buckets"][0].as_py(), "capped": roles.num_rows} if roles.num_rows else {}
    return Step(
        name=STEP,
        finish=partial(regroup, workspace),
        config_hash=_version(),
        batches=(due[start : start + _BATCH] for start in range(0, len(due), _BATCH)),
        task=None,
        settle=_Settlement(workspace, images, due).settle,
        total=len(due),
        detail={"method": _version(), **crowded},
        planned=Counter(crowded),
    )


def _version() -> str:
    """Edges are proven from hashes: a new hash version needs new edges."""
    return f"{METHOD_VERSION}/{SCORERS['phash'].version}"


def _images(model_id: str | None) -> str:
    """SQL: every hashed image with all that decides about its pairs and their proofs; `model` where it has a vector."""
    return f"""(
SELECT i.image_id, i.width_px, i.height_px, i.bytes, p.phash, p.keys || coalesce(v.keys, []) AS keys, p.thumb, p.fine,
       CASE WHEN o.script IN {_READABLE} THEN o.text END AS text, v.model_id AS model
FROM images i
JOIN (SELECT * FROM score_phash WHERE version = '{SCORERS["phash"].version}') p USING (image_id)
LEFT JOIN (SELECT * FROM score_ocr WHERE version = '{SCORERS["ocr"].version}') o USING (image_id)
LEFT JOIN (SELECT subject_id, any_value(keys) AS keys, model_id FROM embeddings
           WHERE subject_kind = 'image' AND model_id = '{model_id or ""}' GROUP BY subject_id, model_id) v
          ON v.subject_id = i.image_id)"""


def _due(workspace: Workspace, images: str, roles: pa.Table) -> list[_Due]:
    """Images whose last comparison, if any, is complete under something else than what holds now."""
    rows = workspace.query(
        f"""
WITH compared AS (SELECT subject_id, config_hash, attempt FROM last_outcomes WHERE step = '{STEP}'),
now AS (
  SELECT image_id, concat_ws('/', '{_version()}', CASE WHEN text IS NOT NULL THEN '{SCORERS["ocr"].version}' END, model, role)
         AS completion
  FROM {images} LEFT JOIN roles USING (image_id)
)
SELECT image_id, completion, coalesce(attempt, 0) + 1 AS attempt
FROM now LEFT JOIN compared ON subject_id = image_id
WHERE config_hash IS DISTINCT FROM completion ORDER BY image_id""",
        roles=roles,
    )
    return [_Due(**row) for row in rows.to_pylist()]


class _Settlement:
    """Settles micro-batches of due images: edges as they are proven now take the place of those that are stored.

    A pair of two due images is settled with the later one, so that each pair is settled once, and after a kill with
    the one that was not complete. The tables are looked at with the first batch, behind the start of the run.
    """

    def __init__(self, workspace: Workspace, images: str, due: Sequence[_Due]) -> None:
        self._workspace, self._images = workspace, images
        self._due = [image.image_id for image in due]
        self._waiting = frozenset(self._due)
        self._known = _Known(frozenset(), {}, {}, {}, {})

    def settle(self, batch: Batch, _: Answers) -> Settled:
        fresh: list[dict[str, object]] = []
        stale: list[Pair] = []
        counts = Counter({"in": len(batch), "compared": len(batch)})
        known = self._look([image.image_id for image in batch])
        for image in batch:
            proofs = known.proofs(image.image_id)
            before = {pair: known.stored[pair] for pair in known.stored_beside.get(image.image_id, ())}
            counts["pairs:proven"] += len(proofs)
            counts["pairs:withdrawn"] += len(before.keys() - proofs.keys())
            stale += [pair for pair, proof in before.items() if proofs.get(pair) != proof]
            fresh += [_row(pair, proof) for pair, proof in proofs.items() if before.get(pair) != proof]
        rows = pa.Table.from_pylist(fresh, schema=TABLES["duplicate_edges"].schema)
        return Settled({"duplicate_edges": rows}, _done(batch), +counts, {"duplicate_edges": _keys(stale)})

    def _look(self, image_ids: Sequence[str]) -> _Known:
        """What is known of these due images: looked up together with those that come next, for it takes a scan."""
        if not self._known.of.issuperset(image_ids):
            at = self._due.index(image_ids[0])
            self._known = self._looked_up(self._due[at : at + max(_AT_ONCE, len(image_ids))])
        return self._known

    def _looked_up(self, image_ids: Sequence[str]) -> _Known:
        due = pa.table({"image_id": pa.array(image_ids, pa.string())})
        met = self._workspace.query(candidate_sql(self._images, "due", CROWDING), due=due)
        pairs = list(zip(met["a"].to_pylist(), met["b"].to_pylist(), strict=True))
        involved = pa.table({"image_id": pa.array(sorted({name for pair in pairs for name in pair}), pa.string())})
        fields = ", ".join(DuplicateEvidence.__dataclass_fields__)
        evidence = self._workspace.query(
            f"SELECT {fields} FROM {self._images} SEMI JOIN involved USING (image_id)", involved=involved
        )
        edges = self._workspace.query(
            f"SELECT * FROM duplicate_edges WHERE method_version = '{_version()}' "
            "AND (a IN (SELECT image_id FROM due) OR b IN (SELECT image_id FROM due)) ORDER BY a, b",
            due=due,
        )
        stored = {(row["a"], row["b"]): _proof(row) for row in edges.to_pylist()}
        of = frozenset(image_ids)
        return _Known(of, evidence_rows(evidence.to_pylist()), self._by_later(pairs), stored, self._by_later(stored))

    def _by_later(self, pairs: Iterable[Pair]) -> Mapping[str, Sequence[Pair]]:
        """Each pair (a, b), a < b, under the later of those of its images that are due."""
        settled_with: dict[str, list[Pair]] = defaultdict(list)
        for a, b in pairs:
            settled_with[b if b in self._waiting else a].append((a, b))
        return settled_with


def _proof(row: Mapping[str, Any]) -> Proof:
    return Proof(distance=row["distance"], proof=row["proof"], value=row["proof_value"])


def _row(pair: Pair, proof: Proof) -> dict[str, object]:
    return {
        "a": pair[0],
        "b": pair[1],
        "method_version": _version(),
        "distance": proof.distance,
        "proof": proof.proof,
        "proof_value": proof.value,
    }


def _keys(pairs: Sequence[Pair]) -> pa.Table:
    schema = TABLES["duplicate_edges"].schema
    rows = [{"a": a, "b": b, "method_version": _version()} for a, b in pairs]
    return pa.Table.from_pylist(rows, schema=pa.schema([schema.field(name) for name in ("a", "b", "method_version")]))


def _done(batch: Batch) -> pa.Table:
    """Outcomes, each under what its own comparison has read."""
    under: dict[str, list[tuple[str, int, Status, None]]] = defaultdict(list)
    for image in batch:
        under[image.completion].append((image.image_id, image.attempt, Status.OK, None))
    return pa.concat_tables(outcome_rows(STEP, completion, rows) for completion, rows in under.items())
