"""Retry: the quarantined are tried again, each by the call that brought it: its source, data set and copying."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from flywheel.errors import SourceError
from flywheel.workspace import Workspace
from pipelines.captioning import caption
from pipelines.embedding import embed
from pipelines.engine import Progress, StepReport
from pipelines.executors import Executor
from pipelines.ingest import ingest
from pipelines.measure import PASSES, measure
from pipelines.settling import STEP

_QUARANTINED = f"(SELECT subject_id FROM last_outcomes WHERE step = '{STEP}' AND status = 'quarantined' AND retryable)"


@dataclass(frozen=True, slots=True, order=True)
class Call:
    """An ingest to repeat. An empty `dataset` stands for the source's own name."""

    origin: str
    dataset: str
    copy_all: bool


@dataclass(frozen=True, slots=True)
class RetryReport:
    """The steps that ran, and a line for each source that cannot be read now."""

    steps: Sequence[StepReport]
    unreachable: Sequence[str]


def retry(workspace: Workspace, executor: Executor, progress: Progress) -> RetryReport:
    """Try again what failed to be read, source by source, then what failed to be measured, embedded or captioned.

    A source that cannot be read keeps nothing else from being tried. Raises what ingest and measure raise
    otherwise.
    """
    steps: list[StepReport] = []
    unreachable: list[str] = []
    for call in calls(workspace):
        try:
            steps.append(
                ingest(
                    workspace,
                    [call.origin],
                    executor,
                    progress,
                    dataset=call.dataset or None,
                    copy_all=call.copy_all,
                    retry=True,
                )
            )
        except SourceError as error:
            unreachable.append(str(error))
    steps += [measure(workspace, name, executor, progress, retry=True) for name in PASSES]
    again = {"embed": embed, "caption": caption}
    steps += [
        step(workspace, executor, progress, retry=True) for name, step in again.items() if _waits(workspace, name)
    ]
    return RetryReport(steps, unreachable)


def _waits(workspace: Workspace, step: str) -> bool:
    """Whether anything of a step is quarantined: models are not started for nothing."""
    sql = f"SELECT 1 AS one FROM last_outcomes WHERE split_part(step, '.', 1) = '{step}' AND status = 'quarantined' LIMIT 1"
    return bool(workspace.query(sql).num_rows)


def calls(workspace: Workspace) -> list[Call]:
    """The calls that brought what is quarantined and worth another try."""
    rows = workspace.query(
        "SELECT DISTINCT origin, dataset, coalesce(copied, false) AS copied "
        f"FROM sources SEMI JOIN {_QUARANTINED} ON source_id = subject_id"
    ).to_pylist()
    found = {Call(row["origin"], row["dataset"], row["copied"]) for row in rows}
    return sorted(found | _cut_short(workspace))


def _cut_short(workspace: Workspace) -> set[Call]:
    """What retries that did not end well were about to repeat, where they left a sighting without its row.

    The row of a sighting that is tried again goes before the new one comes; nothing but the run itself tells then
    where the sighting was made.
    """
    if not workspace.query(f"SELECT 1 AS one FROM {_QUARANTINED} ANTI JOIN sources ON source_id = subject_id").num_rows:
        return set()
    rows = workspace.query(f"SELECT detail FROM runs WHERE step = '{STEP}' AND status <> 'finished'")
    details = [json.loads(text or "{}") for text in rows["detail"].to_pylist()]
    return {
        Call(origin, detail["dataset"] or "", detail["copy"])
        for detail in details
        if detail.get("retry")
        for origin in detail["sources"]
    }
