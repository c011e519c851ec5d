"""Ingest: every place where an image is said to be ends as new, known, rejected or quarantined."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import pyarrow as pa

from filters.scorers import SCORERS
from flywheel.records import Failure, Reason, SourceItem, Status
from flywheel.schemas import TABLES
from flywheel.seeds import source_id
from flywheel.workspace import Workspace, runs
from pipelines.carrying import Carriage, carried
from pipelines.decoding import IngestContext, Seen
from pipelines.engine import Progress, Settled, Step, StepReport, config_hash_of, drive, outcome_rows
from pipelines.executors import Answers, Batch, Executor, Task
from pipelines.measure import step_of
from pipelines.sources import SourceLimits, open_source
from pipelines.sources.fetch import FetchLimits

STEP = "ingest"
LAW = ("new", "known", "rejected", "quarantined")
# Bytes that travel with their items (gz tars, Parquet) and URLs make heavy batches: they are cut earlier.
_INLINE_BYTES = 64 << 20
_URL_BATCH = 32
_SCALED = tuple(name for name, scorer in SCORERS.items() if scorer.reads == "scaled")


@dataclass(frozen=True, slots=True)
class _Standing:
    """How a sighting stands from earlier runs."""

    status: Status
    config_hash: str
    attempt: int


@dataclass(frozen=True, slots=True)
class _Listed:
    """One listed item on its way through a batch."""

    item: SourceItem
    source_id: str
    attempt: int
    origin: str


def ingest(
    workspace: Workspace,
    sources: Sequence[str],
    executor: Executor,
    progress: Progress,
    *,
    dataset: str | None = None,
    copy_all: bool = False,
    retry: bool = False,
) -> StepReport:
    """Ingest sources in order.

    With `retry`, items whose last word is a retryable quarantine are tried again; other settled items
    are not read. Raises SourceError for a source that cannot be listed, ConservationError.
    """
    config = workspace.config.ingest
    carriage = Carriage(
        fetch=FetchLimits(max_bytes=config.max_bytes, total_s=config.fetch_s, allow_hosts=config.allow_hosts),
        workspace_uri=workspace.uri,
    )
    context = IngestContext(
        budgets=config.budgets,
        copy_all=copy_all,
        scorers=_SCALED,
        forgotten=frozenset(workspace.query("SELECT image_id FROM tombstones")["image_id"].to_pylist()),
    )
    config_hash = config_hash_of({"budgets": asdict(config.budgets), "allow_hosts": config.allow_hosts})
    planned: Counter[str] = Counter()
    listing = _list(workspace, sources, dataset)
    todo = _unsettled(workspace, listing, config_hash, retry, planned)
    step = Step(
        name=STEP,
        config_hash=config_hash,
        batches=_batches(todo, workspace.config.run.micro_batch),
        task=_task(context, carriage),
        settle=_Settlement(workspace, config_hash).settle,
        detail={"sources": list(sources), "dataset": dataset, "copy": copy_all, "retry": retry},
        planned=planned,
    )
    return drive(workspace, step, _Unwrapping(executor), LAW, progress)


def quarantined_origins(workspace: Workspace) -> list[str]:
    """The sources that still hold items worth another try."""
    rows = workspace.query(
        "SELECT DISTINCT s.origin FROM last_outcomes o JOIN sources s ON s.source_id = o.subject_id "
        "WHERE o.step = 'ingest' AND o.status = 'quarantined' AND o.retryable ORDER BY 1"
    )
    return list(rows["origin"].to_pylist())


def _task(context: IngestContext, carriage: Carriage) -> Task:
    return Task(
        item="pipelines.decoding:ingest_item",
        around=partial(carried, carriage=carriage),
        context=context,
        memory_bytes=context.budgets.child_memory_bytes,
        item_s=context.budgets.decode_s,
    )


def _list(workspace: Workspace, sources: Sequence[str], dataset: str | None) -> Iterator[tuple[str, SourceItem]]:
    limits = SourceLimits(max_bytes=workspace.config.ingest.max_bytes, dataset=dataset)
    for source in sources:
        for item in open_source(source, limits):
            yield source, item


def _unsettled(
    workspace: Workspace,
    listing: Iterable[tuple[str, SourceItem]],
    config_hash: str,
    retry: bool,
    planned: Counter[str],
) -> Iterator[_Listed]:
    """The items that need a worker; the others are counted as they stand."""
    standing = _standings(workspace)
    listed: set[bytes] = set()
    for origin, item in listing:
        subject = source_id(item.uri, item.fingerprint)
        key = bytes.fromhex(subject)
        if key in listed:  # two sources overlap
            planned.update({"in": 1, "known": 1})
            continue
        listed.add(key)
        before = standing.get(key)
        if before is not None and not _again(before, config_hash, retry):
            planned.update({"in": 1, _name(before.status): 1})
            continue
        yield _Listed(item, subject, before.attempt + 1 if before else 1, origin)


def _again(before: _Standing, config_hash: str, retry: bool) -> bool:
    if before.status is Status.QUARANTINED:
        return retry
    return before.status is Status.REJECTED and before.config_hash != config_hash


def _name(status: Status) -> str:
    return "known" if status is Status.OK else str(status)


def _standings(workspace: Workspace) -> dict[bytes, _Standing]:
    rows = workspace.query(
        "SELECT subject_id, status, config_hash, attempt FROM last_outcomes WHERE step = 'ingest'"
    ).to_pydict()
    return {
        bytes.fromhex(subject): _Standing(Status(status), config_hash, attempt)
        for subject, status, config_hash, attempt in zip(*rows.values(), strict=True)
    }


def _batches(todo: Iterable[_Listed], size: int) -> Iterator[list[_Listed]]:
    batch: list[_Listed] = []
    inline = urls = 0
    for entry in todo:
        batch.append(entry)
        inline += len(entry.item.inline or b"")
        urls += entry.item.locator.uri.startswith("http")
        if len(batch) >= size or inline >= _INLINE_BYTES or urls >= _URL_BATCH:
            yield batch
            batch, inline, urls = [], 0, 0
    if batch:
        yield batch


class _Unwrapping:
    """Workers get bare items, and none that listing alone has settled."""

    def __init__(self, executor: Executor) -> None:
        self._executor, self.workers = executor, executor.workers

    def map(self, task: Task | None, batches: Iterable[Batch], on_wait: Any) -> Iterator[tuple[Batch, Answers]]:
        waiting: list[Batch] = []

        def bare() -> Iterator[Batch]:
            for batch in batches:
                waiting.append(batch)
                yield [entry.item for entry in batch if entry.item.refused is None]

        for _, answers in self._executor.map(task, bare(), on_wait):
            batch, given = waiting.pop(0), iter(answers)
            yield batch, [_refusal(entry.item) or next(given) for entry in batch]


def _refusal(item: SourceItem) -> Failure | None:
    return Failure(item.refused, item.detail or "") if item.refused is not None else None


class _Settlement:
    """Decides new or known, in plan order; knows what a torn batch has left behind."""

    def __init__(self, workspace: Workspace, config_hash: str) -> None:
        self._config_hash = config_hash
        images = workspace.query("SELECT image_id, source_id FROM images").to_pydict()
        # The sighting that brought an image in: after a torn batch that same sighting is still "new".
        self._brought = {
            bytes.fromhex(image): hashlib.sha256(source.encode()).digest()[:8]
            for image, source in zip(images["image_id"], images["source_id"], strict=True)
        }
        self._left = _left_behind(workspace) if runs.was_torn(workspace, STEP) else {}

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
                self._collect(rows, entry, None if failure else answer, status)
        tables = {name: self._table(name, found) for name, found in rows.items()}
        # Scores first, then images, then sources: what is refered to exists before what refers to it.
        order = sorted(tables, key=lambda name: (name == "sources", name == "images", name))
        # What ingest's one decode has measured is complete for the scaled pass, too.
        measured = [(row["image_id"], 1, Status.OK, None) for row in rows["images"]]
        outcomes = pa.concat_tables(
            [outcome_rows(STEP, self._config_hash, done), outcome_rows(*step_of("scaled"), measured)]
        )
        return Settled({name: tables[name] for name in order}, outcomes, counts, _replaced(batch))

    def _judge(self, entry: _Listed, answer: Seen | Failure) -> tuple[Status, Failure | None]:
        if isinstance(answer, Failure):
            return answer.status, answer
        key, mark = bytes.fromhex(answer.facts.image_id), hashlib.sha256(entry.source_id.encode()).digest()[:8]
        new = self._brought.setdefault(key, mark) == mark
        return (Status.OK if new else Status.KNOWN), None

    def _collect(
        self, rows: dict[str, list[dict[str, Any]]], entry: _Listed, seen: Seen | None, status: Status
    ) -> None:
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

    def _table(self, name: str, rows: list[dict[str, Any]]) -> pa.Table:
        key = "source_id" if name == "sources" else "image_id"
        left = self._left.get(name, frozenset())
        spec = TABLES.get(name) or SCORERS[name.removeprefix("score_")].table
        return pa.Table.from_pylist([row for row in rows if row[key] not in left], schema=spec.schema)


def _replaced(batch: Batch) -> dict[str, pa.Table]:
    """Sightings that failed before: their rows make place for what the new attempt says."""
    again = [entry.source_id for entry in batch if entry.attempt > 1]
    return {"sources": pa.table({"source_id": again})} if again else {}


def _source_row(entry: _Listed, seen: Seen | None) -> dict[str, Any]:
    item = entry.item
    row: dict[str, Any] = {"source_id": entry.source_id, "uri": item.uri, "fingerprint": item.fingerprint}
    row |= {"dataset": item.dataset, "origin": entry.origin, "original_key": item.original_key}
    if seen is None:
        return row
    row |= {"licence": item.licence, "caption": item.caption, "metadata_json": item.metadata_json}
    return row | {"image_id": seen.facts.image_id}


def _left_behind(workspace: Workspace) -> Mapping[str, frozenset[str]]:
    """Keys of payload rows whose micro-batch never completed: they are there already and stay."""
    done = "SELECT subject_id FROM outcomes WHERE step = 'ingest'"
    whole = f"SELECT image_id FROM images WHERE source_id IN ({done})"
    left = {"sources": workspace.query(f"SELECT source_id AS k FROM sources WHERE source_id NOT IN ({done})")}
    left["images"] = workspace.query(f"SELECT image_id AS k FROM images WHERE source_id NOT IN ({done})")
    for scorer in _SCALED:
        version = SCORERS[scorer].version
        left[f"score_{scorer}"] = workspace.query(
            f"SELECT image_id AS k FROM score_{scorer} WHERE version = '{version}' AND image_id NOT IN ({whole})"
        )
    return {name: frozenset(rows["k"].to_pylist()) for name, rows in left.items()}
