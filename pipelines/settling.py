"""What the answers of ingest's workers mean: new or known, decided in plan order, and the rows that say so."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import pyarrow as pa

from filters.scorers import SCORERS
from flywheel.records import Failure, Reason, SourceItem, Status
from flywheel.schemas import TABLES
from flywheel.workspace import Workspace
from pipelines.decoding import Seen
from pipelines.engine import Settled, outcome_rows
from pipelines.executors import Answers, Batch
from pipelines.measure import step_of

STEP = "ingest"
SCALED = tuple(name for name, scorer in SCORERS.items() if scorer.reads == "scaled")


@dataclass(frozen=True, slots=True)
class Listed:
    """One listed item on its way through a batch. `origin` and `copied`: the call that is repeated to try it again."""

    item: SourceItem
    source_id: str
    attempt: int
    origin: str
    copied: bool


class Settlement:
    """Settles micro-batches in plan order.

    The tables are looked at with the first one: behind the start of the run, when nobody else writes to them.
    """

    def __init__(self, workspace: Workspace, config_hash: str) -> None:
        self._workspace = workspace
        self._config_hash = config_hash

    @cached_property
    def _brought(self) -> dict[bytes, bytes]:
        """The sighting that brought an image in: after a torn batch that same sighting is still "new"."""
        images = self._workspace.query("SELECT image_id, source_id FROM images").to_pydict()
        return {
            bytes.fromhex(image): _mark(source)
            for image, source in zip(images["image_id"], images["source_id"], strict=True)
        }

    @cached_property
    def _left(self) -> Mapping[str, frozenset[str]]:
        return _left_behind(self._workspace)

    def settle(self, batch: Batch, answers: Answers) -> Settled:
        rows: dict[str, list[dict[str, Any]]] = {"sources": [], "images": []}
        done: list[tuple[str, int, Status, Failure | None]] = []
        counts: Counter[str] = Counter()
        for entry, answer in zip(batch, answers, strict=True):
            status, failure = self._judge(entry, answer)
            done.append((entry.source_id, entry.attempt, status, failure))
            counts.update({"in": 1, "new" if status is Status.OK else str(status): 1})
            if failure is not None:
                counts[f"{failure.status}:{failure.reason}"] += 1
            if failure is None or failure.reason is not Reason.FORGOTTEN:
                _collect(rows, entry, None if failure else answer, status)
        tables = {name: self._table(name, found) for name, found in rows.items()}
        # Scores first, then images, then sources: what is refered to exists before what refers to it.
        order = sorted(tables, key=lambda name: (name == "sources", name == "images", name))
        outcomes = pa.concat_tables([outcome_rows(STEP, self._config_hash, done), self._measured(rows["images"])])
        return Settled({name: tables[name] for name in order}, outcomes, counts, _replaced(batch))

    def _measured(self, images: list[dict[str, Any]]) -> pa.Table:
        """What ingest's one decode has measured is complete for the scaled pass, too."""
        said = self._left["outcomes"]
        fresh = [(row["image_id"], 1, Status.OK, None) for row in images if row["image_id"] not in said]
        return outcome_rows(*step_of("scaled"), fresh)

    def _judge(self, entry: Listed, answer: Seen | Failure) -> tuple[Status, Failure | None]:
        if isinstance(answer, Failure):
            return answer.status, answer
        mark = _mark(entry.source_id)
        new = self._brought.setdefault(bytes.fromhex(answer.facts.image_id), mark) == mark
        return (Status.OK if new else Status.KNOWN), None

    def _table(self, name: str, rows: list[dict[str, Any]]) -> pa.Table:
        key = "source_id" if name == "sources" else "image_id"
        left = self._left.get(name, frozenset())
        spec = TABLES.get(name) or SCORERS[name.removeprefix("score_")].table
        return pa.Table.from_pylist([row for row in rows if row[key] not in left], schema=spec.schema)


def _mark(source: str) -> bytes:
    """Enough of a sighting to tell it from others, in eight bytes an image."""
    return hashlib.sha256(source.encode()).digest()[:8]


def _collect(rows: dict[str, list[dict[str, Any]]], entry: Listed, seen: Seen | None, status: Status) -> None:
    rows["sources"].append(_source_row(entry, seen))
    if seen is None or status is not Status.OK:
        return
    rows["images"].append(
        asdict(seen.facts)
        | {"uri": seen.locator.uri, "member": seen.locator.member}
        | {"offset": seen.locator.offset, "length": seen.locator.length, "source_id": entry.source_id}
    )
    for scorer, row in seen.scores.items():
        full = {"image_id": seen.facts.image_id, "version": SCORERS[scorer].version, **row}
        rows.setdefault(f"score_{scorer}", []).append(full)


def _source_row(entry: Listed, seen: Seen | None) -> dict[str, Any]:
    item = entry.item
    row: dict[str, Any] = {"source_id": entry.source_id, "uri": item.uri, "fingerprint": item.fingerprint}
    row |= {"dataset": item.dataset, "origin": entry.origin, "copied": entry.copied, "original_key": item.original_key}
    if seen is None:
        return row
    row |= {"licence": item.licence, "caption": item.caption, "metadata_json": item.metadata_json}
    return row | {"image_id": seen.facts.image_id}


def _replaced(batch: Batch) -> dict[str, pa.Table]:
    """Sightings that failed before: their rows make place for what the new attempt says.

    A kill in between leaves such a sighting without a row; `retry.calls` knows where to look for it.
    """
    again = [entry.source_id for entry in batch if entry.attempt > 1]
    return {"sources": pa.table({"source_id": again})} if again else {}


def _left_behind(workspace: Workspace) -> Mapping[str, frozenset[str]]:
    """Keys of rows whose micro-batch never completed, whichever run began it: they are there and stay.

    Rows by table; under `outcomes` images that the scaled pass has completed meanwhile.
    """
    step, config_hash = step_of("scaled")
    scores = [
        f"SELECT 'score_{name}' AS name, image_id AS key FROM score_{name} "
        f"WHERE version = '{SCORERS[name].version}' AND image_id NOT IN (SELECT image_id FROM whole)"
        for name in SCALED
    ]
    found = workspace.query(
        f"WITH ended AS (SELECT subject_id, status FROM outcomes WHERE step = '{STEP}'), "
        "settled AS (SELECT subject_id FROM ended WHERE status IN ('ok', 'known')), "
        "whole AS (SELECT image_id FROM images SEMI JOIN settled ON source_id = subject_id) "
        "SELECT 'sources' AS name, source_id AS key FROM sources ANTI JOIN ended ON source_id = subject_id "
        "UNION ALL SELECT 'images', image_id FROM images ANTI JOIN settled ON source_id = subject_id "
        f"UNION ALL SELECT 'outcomes', subject_id FROM outcomes WHERE step = '{step}' "
        f"AND config_hash = '{config_hash}' AND subject_id NOT IN (SELECT image_id FROM whole) "
        f"UNION ALL {' UNION ALL '.join(scores)}"
    ).to_pydict()
    left: dict[str, set[str]] = {"outcomes": set()}
    for name, key in zip(found["name"], found["key"], strict=True):
        left.setdefault(name, set()).add(key)
    return {name: frozenset(keys) for name, keys in left.items()}
