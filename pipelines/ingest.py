"""Ingest: every place where an image is said to be ends as new, known, rejected or quarantined."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from flywheel.records import Failure, SourceItem, Status
from flywheel.seeds import source_id
from flywheel.workspace import Workspace
from flywheel.workspace.places import canonical_uri
from pipelines.carrying import Carriage, carried, expected_bytes
from pipelines.decoding import IngestContext
from pipelines.engine import Progress, Step, StepReport, config_hash_of, drive
from pipelines.executors import Answers, Batch, Executor, Task
from pipelines.settling import SCALED, STEP, Listed, Settlement
from pipelines.sources import SourceLimits, open_source
from pipelines.sources.fetch import FetchLimits

LAW = ("new", "known", "rejected", "quarantined")
# Our choice, where micro-batches are cut early: bytes that travel with their items (gz tars, Parquet cells) lie in
# several processes at once; a killed run copies and fetches again what it had not completed.
_INLINE_BYTES = 32 << 20
_COPIED_BYTES = 256 << 20
_URLS = 128


@dataclass(frozen=True, slots=True)
class _Standing:
    """How a sighting stands from earlier runs."""

    status: Status
    config_hash: str
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Call:
    """What was asked for."""

    sources: Sequence[str]
    dataset: str | None
    copy_all: bool
    retry: bool


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
    are not read. Raises SourceError for a source that cannot be listed (before anything is written, where it is
    missing), AnotherDriver, DiskReserve, ConservationError.
    """
    call = _Call(sources=tuple(sources), dataset=dataset, copy_all=copy_all, retry=retry)
    return drive(workspace, partial(_plan, workspace, call), _Unwrapping(executor), LAW, progress)


def _plan(workspace: Workspace, call: _Call) -> Step:
    config = workspace.config.ingest
    config_hash = config_hash_of({"budgets": asdict(config.budgets), "allow_hosts": config.allow_hosts})
    planned: Counter[str] = Counter()
    listing = _list(call, SourceLimits(max_bytes=config.max_bytes, dataset=call.dataset))
    todo = _unsettled(_standings(workspace), listing, config_hash, call, planned)
    detail = {"sources": [canonical_uri(source) for source in call.sources], "dataset": call.dataset}
    return Step(
        name=STEP,
        config_hash=config_hash,
        batches=_batches(todo, workspace.config.run.micro_batch),
        task=_task(workspace, call.copy_all),
        settle=Settlement(workspace, config_hash).settle,
        detail=detail | {"copy": call.copy_all, "retry": call.retry},
        planned=planned,
    )


def _task(workspace: Workspace, copy_all: bool) -> Task:
    config = workspace.config.ingest
    forgotten = workspace.query("SELECT image_id FROM tombstones")["image_id"].to_pylist()
    context = IngestContext(budgets=config.budgets, copy_all=copy_all, scorers=SCALED, forgotten=frozenset(forgotten))
    carriage = Carriage(
        fetch=FetchLimits(max_bytes=config.max_bytes, total_s=config.fetch_s, allow_hosts=config.allow_hosts),
        workspace_uri=workspace.uri,
        copy_all=copy_all,
    )
    return Task(
        item="pipelines.decoding:ingest_item",
        around=partial(carried, carriage=carriage),
        context=context,
        memory_bytes=config.budgets.child_memory_bytes,
        item_s=config.budgets.decode_s,
    )


def _list(call: _Call, limits: SourceLimits) -> Iterator[tuple[str, SourceItem]]:
    """Every item with its source. All sources are looked at before the first item is given.

    Raises SourceError.
    """
    opened = [(open_source(source, limits), canonical_uri(source)) for source in call.sources]
    return ((origin, item) for items, origin in opened for item in items)


def _unsettled(
    standing: dict[bytes, _Standing],
    listing: Iterable[tuple[str, SourceItem]],
    config_hash: str,
    call: _Call,
    planned: Counter[str],
) -> Iterator[Listed]:
    """The items that need a worker; the others are counted as they stand."""
    listed: set[bytes] = set()
    for origin, item in listing:
        subject = source_id(item.uri, item.fingerprint)
        key = bytes.fromhex(subject)
        if key in listed:  # two sources overlap
            planned.update({"in": 1, "known": 1})
            continue
        listed.add(key)
        before = standing.get(key)
        if before is not None and not _again(before, config_hash, call.retry):
            planned.update({"in": 1, _name(before.status): 1})
            continue
        yield Listed(item, subject, before.attempt + 1 if before else 1, origin, call.copy_all)


def _again(before: _Standing, config_hash: str, retry: bool) -> bool:
    if before.status is Status.QUARANTINED:
        return retry
    return before.status is Status.REJECTED and before.config_hash != config_hash


def _name(status: Status) -> str:
    return "known" if status is Status.OK else str(status)


def _standings(workspace: Workspace) -> dict[bytes, _Standing]:
    rows = workspace.query(
        f"SELECT subject_id, status, config_hash, attempt FROM last_outcomes WHERE step = '{STEP}'"
    ).to_pydict()
    return {
        bytes.fromhex(subject): _Standing(Status(status), config_hash, attempt)
        for subject, status, config_hash, attempt in zip(*rows.values(), strict=True)
    }


def _batches(todo: Iterable[Listed], size: int) -> Iterator[list[Listed]]:
    batch: list[Listed] = []
    inline = copied = urls = 0
    for entry in todo:
        batch.append(entry)
        inline += len(entry.item.inline or b"")
        copied += expected_bytes(entry.item) if entry.copied else 0
        urls += entry.item.locator.uri.startswith("http")
        if len(batch) >= size or inline >= _INLINE_BYTES or copied >= _COPIED_BYTES or urls >= _URLS:
            yield batch
            batch, inline, copied, urls = [], 0, 0, 0
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
