"""Near duplicates: candidates by hash keys, a proof for each, groups derived from what was proven."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from filters.duplicates import (
    METHOD_VERSION,
    DuplicateEvidence,
    Proof,
    candidate_sql,
    evidence_rows,
    groups,
    hot_buckets_sql,
    prove,
)
from filters.scorers import SCORERS
from flywheel.records import Status
from flywheel.schemas import TABLES
from flywheel.workspace import Workspace
from pipelines.engine import Progress, Settled, Step, StepReport, drive, outcome_rows
from pipelines.executors import Batch
from pipelines.executors.inline import InlineExecutor

STEP = "duplicates"
LAW = ("compared",)
_BATCH = 256
_READABLE = "('latin', 'han', 'kana', 'greek')"

Pair = tuple[str, str]


@dataclass(frozen=True, slots=True)
class _Evidence:
    """What is compared: everything that lies in a candidate pair, by image."""

    of: Mapping[str, DuplicateEvidence]
    beside: Mapping[str, Sequence[str]]
    written: frozenset[Pair]


def find(workspace: Workspace, progress: Progress) -> StepReport:
    """Compare what was not compared yet with everything, store proven edges, derive the groups.

    Hash buckets above the cap are left out and counted as `capped_buckets`. Raises AnotherDriver.
    """
    version = _version()
    pending = workspace.query(
        f"SELECT image_id FROM ({_hashed()}) WHERE image_id NOT IN (SELECT subject_id FROM outcomes "
        f"WHERE step = '{STEP}' AND config_hash = '{version}') ORDER BY image_id"
    )["image_id"].to_pylist()
    evidence = _gather(workspace, pending, version) if pending else _Evidence({}, {}, frozenset())
    step = Step(
        name=STEP,
        config_hash=version,
        batches=(pending[start : start + _BATCH] for start in range(0, len(pending), _BATCH)),
        task=None,
        settle=lambda batch, _: _settle(batch, evidence, version),
        total=len(pending),
        detail={"method": version, "capped_buckets": _capped(workspace) if pending else 0},
    )
    report = drive(workspace, step, InlineExecutor(), LAW, progress)
    regroup(workspace, report.run_id or STEP)
    return report


def regroup(workspace: Workspace, run_id: str) -> None:
    """Derive `duplicate_groups` from the edges again, and replace the table where it differs."""
    edges = workspace.query(
        f"SELECT a, b, distance, proof, proof_value FROM duplicate_edges WHERE method_version = '{_version()}' ORDER BY a, b"
    )
    order = workspace.query(
        "SELECT image_id, width_px::BIGINT * height_px AS pixels, bytes FROM images "
        "WHERE image_id IN (SELECT a FROM duplicate_edges UNION SELECT b FROM duplicate_edges)"
    )
    proven = (
        (row["a"], row["b"], Proof(distance=row["distance"], proof=row["proof"], value=row["proof_value"]))
        for row in edges.to_pylist()
    )
    members = groups(proven, [(row["image_id"], row["pixels"], row["bytes"]) for row in order.to_pylist()])
    derived = [
        {"image_id": image, "representative_id": representative, "distance": distance, "proof": proof}
        for image, (representative, distance, proof) in sorted(members.items())
    ]
    if workspace.query("SELECT * FROM duplicate_groups ORDER BY image_id").to_pylist() != derived:
        rows = pa.Table.from_pylist(derived, schema=TABLES["duplicate_groups"].schema)
        workspace.tables.replace("duplicate_groups", rows, run_id=run_id)


def _version() -> str:
    """Edges are proven from hashes: a new hash version needs new edges."""
    return f"{METHOD_VERSION}/{SCORERS['phash'].version}"


def _hashed() -> str:
    return (
        "SELECT i.image_id, p.keys, i.width_px, i.height_px FROM images i JOIN score_phash p USING (image_id) "
        f"WHERE p.version = '{SCORERS['phash'].version}'"
    )


def _capped(workspace: Workspace) -> int:
    return int(workspace.query(hot_buckets_sql(f"({_hashed()})")).num_rows)


def _gather(workspace: Workspace, pending: Sequence[str], version: str) -> _Evidence:
    """Candidate pairs with a pending image in them, each under the pending image that comes last."""
    fresh = pa.table({"image_id": list(pending)})
    pairs = workspace.query(
        f"SELECT a, b FROM ({candidate_sql(f'({_hashed()})')}) "
        "WHERE a IN (SELECT image_id FROM fresh) OR b IN (SELECT image_id FROM fresh) ORDER BY a, b",
        fresh=fresh,
    ).to_pydict()
    waiting = set(pending)
    beside: dict[str, list[str]] = defaultdict(list)
    for a, b in zip(pairs["a"], pairs["b"], strict=True):
        last, other = (b, a) if b in waiting else (a, b)
        beside[last].append(other)
    involved = pa.table({"image_id": sorted({*pairs["a"], *pairs["b"]})}, schema=pa.schema([("image_id", pa.string())]))
    rows = workspace.query(
        "SELECT p.image_id, p.phash, p.thumb, p.fine, i.width_px, i.height_px, "
        f"CASE WHEN o.script IN {_READABLE} THEN o.text END AS text "
        "FROM involved JOIN score_phash p USING (image_id) JOIN images i USING (image_id) "
        f"LEFT JOIN (SELECT * FROM score_ocr WHERE version = '{SCORERS['ocr'].version}') o USING (image_id) "
        f"WHERE p.version = '{SCORERS['phash'].version}'",
        involved=involved,
    ).to_pylist()
    written = workspace.query(f"SELECT a, b FROM duplicate_edges WHERE method_version = '{version}'").to_pydict()
    return _Evidence(evidence_rows(rows), beside, frozenset(zip(written["a"], written["b"], strict=True)))


def _settle(batch: Batch, evidence: _Evidence, version: str) -> Settled:
    edges = [edge for image in batch for edge in _edges(image, evidence, version)]
    done = outcome_rows(STEP, version, [(image, 1, Status.OK, None) for image in batch])
    rows = pa.Table.from_pylist(edges, schema=TABLES["duplicate_edges"].schema)
    counts = Counter({"in": len(batch), "compared": len(batch), "pairs:proven": len(edges)})
    return Settled({"duplicate_edges": rows}, done, counts)


def _edges(image: str, evidence: _Evidence, version: str) -> Iterator[dict[str, object]]:
    for other in evidence.beside.get(image, ()):
        a, b = sorted((image, other))
        proof = prove(evidence.of[a], evidence.of[b]) if (a, b) not in evidence.written else None
        if proof is not None:
            yield {
                "a": a,
                "b": b,
                "method_version": version,
                "distance": proof.distance,
                "proof": proof.proof,
                "proof_value": proof.value,
            }
