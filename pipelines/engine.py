"""The step engine: micro-batches through an executor, committed in order, payload first and outcome last.

Every step is the same four things: a plan (which micro-batches are still to do), a task (what a worker
does with one), a settlement (what its answers mean for tables) and a law (what the counts must add up
to). Because completion is committed last and plans leave out what is complete, a killed run resumes by
being started again; because micro-batches are committed in plan order, it ends with the same tables.

A plan is read before its run is started, since one without work must record nothing. Whatever was committed
in between (by another driver of the step, by a forgetting) makes it stale: then it is read once more, behind
the start of the run, where nobody else can drive the step.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any, Protocol, TypeVar

import pyarrow as pa

from flywheel.errors import ConservationError
from flywheel.records import Failure, Status
from flywheel.schemas import TABLES
from flywheel.workspace import Workspace, runs
from flywheel.workspace.tables import FencedTable
from pipelines.executors import Answers, Batch, Executor, Task

T = TypeVar("T")
_OUTCOMES = TABLES["outcomes"].schema
_COMPACT_AFTER = 1_000  # commits to one table, design section 4


class Progress(Protocol):
    """Where a step reports how far it is. `total` is None while unknown."""

    def __call__(self, step: str, done: int, total: int | None, counts: Mapping[str, int]) -> None: ...


@dataclass(frozen=True, slots=True)
class Settled:
    """What one micro-batch means: rows by table, one outcome a subject, and counts.

    `replaces` names rows (by key columns) that go before the new ones come: a retry that succeeded.
    """

    payloads: Mapping[str, pa.Table]
    outcomes: pa.Table
    counts: Mapping[str, int]
    replaces: Mapping[str, pa.Table] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step over one workspace, planned: what it is about to do holds for the tables as they are now.

    `total` is the number of items when known. `task` is None for arithmetic on stored numbers, which the
    settlement does inline. `finish` derives what depends on all of it, given the run's id, before the run ends.
    """

    name: str
    config_hash: str
    batches: Iterable[Batch]
    task: Task | None
    settle: Callable[[Batch, Answers], Settled]
    total: int | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)
    finish: Callable[[str], None] | None = None
    # Counts that the plan itself makes while it is consumed (items settled by earlier runs).
    planned: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class StepReport:
    """How a step ended; `run_id` is None when there was nothing to do, and `why` says so where it could do nothing."""

    step: str
    run_id: str | None
    counts: Mapping[str, int]
    why: str = ""

    def document(self) -> dict[str, Any]:
        """As `--json` tells it: `why` only where the step could do nothing."""
        said: dict[str, Any] = {"step": self.step, "run_id": self.run_id, "counts": dict(self.counts)}
        return said | ({"why": self.why} if self.why else {})


EndedRow = tuple[str, int, Status, Failure | None]  # subject_id, attempt, status, failure


def outcome_rows(step: str, config_hash: str, rows: Sequence[EndedRow]) -> pa.Table:
    """Completion rows."""
    return pa.Table.from_pylist(
        [
            {
                "step": step,
                "subject_id": subject,
                "config_hash": config_hash,
                "attempt": attempt,
                "status": str(status),
                "reason": str(failure.reason) if failure else None,
                "detail": failure.detail[:500] if failure else None,
                "retryable": failure.reason.retryable if failure else False,
            }
            for subject, attempt, status, failure in rows
        ],
        schema=_OUTCOMES,
    )


def conserve(step: str, counts: Mapping[str, int], parts: Sequence[str]) -> None:
    """The law of conservation: what came in is what went somewhere.

    Raises ConservationError with the figures.
    """
    total = sum(counts.get(part, 0) for part in parts)
    if counts.get("in", 0) != total:
        figures = ", ".join(f"{part} {counts.get(part, 0)}" for part in parts)
        raise ConservationError(f"{step}: {counts.get('in', 0)} came in but {total} are accounted for ({figures})")


def drive(
    workspace: Workspace, plan: Callable[[], Step], executor: Executor, law: Sequence[str], progress: Progress
) -> StepReport:
    """Plan a step, run it to its end and record the run. Nothing to do starts nothing and records nothing.

    `plan` reads the tables; it is called again where they changed before the run had started.
    Raises AnotherDriver, DiskReserve (the run is paused, tables whole), ConservationError.
    """
    seen = _versions(workspace)
    step = plan()
    batches = iter(step.batches)
    first = next(batches, None)
    if first is None:
        conserve(step.name, step.planned, law)
        return StepReport(step.name, None, dict(step.planned))
    step = replace(step, batches=chain([first], batches))
    counts: Counter[str] = Counter()
    run = runs.start(workspace, step.name, step.config_hash, step.detail)
    with run.recorded(counts):
        # Opened before the tables are looked at again: whoever commits for this step from here on is noticed.
        outcomes = FencedTable(workspace.tables, "outcomes", step.name, run.run_id)
        if _versions(workspace) != seen:
            step = plan()
        _commit_all(workspace, run, step, outcomes, executor, counts, progress)
        conserve(step.name, counts, law)
        if step.finish is not None:
            step.finish(run.run_id)
    run.end("finished", counts)
    return StepReport(step.name, run.run_id, dict(counts))


def _commit_all(
    workspace: Workspace,
    run: runs.Run,
    step: Step,
    outcomes: FencedTable,
    executor: Executor,
    counts: Counter[str],
    progress: Progress,
) -> None:
    writers = {"outcomes": outcomes}

    def writer(name: str) -> FencedTable:
        if name not in writers:
            writers[name] = FencedTable(workspace.tables, name, step.name, run.run_id)
        return writers[name]

    for batch, answers in executor.map(step.task, step.batches, run.heartbeat):
        settled = step.settle(batch, answers)
        workspace.require_disk()
        for name, keys in settled.replaces.items():
            workspace.tables.delete_keys(name, keys, run_id=run.run_id)
        for name, rows in settled.payloads.items():
            writer(name).append(rows)
        outcomes.append(settled.outcomes)
        counts.update(settled.counts)
        run.heartbeat()
        for table in writers.values():
            if table.commits >= _COMPACT_AFTER:
                table.compact()
        progress(step.name, counts["in"] + step.planned["in"], step.total, counts + step.planned)
    counts.update(step.planned)
    for table in writers.values():
        table.compact()


def _versions(workspace: Workspace) -> Mapping[str, int]:
    """The version of every table but `run_events`, to which a driver writes without changing any plan."""
    return {name: at for name, at in workspace.tables.versions().items() if name != "run_events"}


def batched(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """The items in order, so many at once."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def config_hash_of(value: Mapping[str, Any]) -> str:
    """The hash under which a step's outcomes count as done."""
    from flywheel.seeds import stable_hash

    return stable_hash(json.loads(json.dumps(value, sort_keys=True)))
