"""Investigate: modes are confirmed on fresh prompts, those that stand are attributed to a cause; the costliest first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from flywheel.errors import UsageError
from flywheel.triage.attribution import Route, Thresholds
from flywheel.workspace import Workspace
from pipelines.attributing import attribute
from pipelines.collecting import collect
from pipelines.confirming import Confirmed, confirm
from pipelines.engine import Progress
from pipelines.executors import Executor
from pipelines.experiments.trial import Trial
from pipelines.generators import Generator
from pipelines.judges import Judge
from pipelines.modes_shown import ModeShown


@dataclass(frozen=True, slots=True, kw_only=True)
class Investigated:
    """`route`: None where the mode did not stand out again. `skipped`: why nothing could be tried."""

    mode: ModeShown
    confirmed: Confirmed | None = None
    route: Route | None = None
    skipped: str = ""


def investigate(
    workspace: Workspace,
    modes: Sequence[ModeShown],
    generator: Generator,
    judge: Judge,
    executor: Executor,
    progress: Progress,
    *,
    budget: float,
) -> Iterator[Investigated]:
    """One after the other, each as soon as it is known; `budget`: pictures a mode."""
    for mode in modes:
        trial = Trial(
            workspace=workspace, mode=mode, generator=generator, judge=judge, executor=executor, progress=progress
        )
        try:
            yield _investigated(trial, budget)
        except UsageError as error:
            yield Investigated(mode=mode, skipped=str(error))
    collect(workspace)


def _investigated(trial: Trial, budget: float) -> Investigated:
    mode = trial.mode
    if not mode.parts:
        return Investigated(mode=mode, skipped="no concept stands out: there is nothing to draw again")
    found = confirm(trial.workspace, mode, trial.generator, trial.judge, trial.executor, trial.progress)
    if not found.stands_out:
        return Investigated(mode=mode, confirmed=found)
    return Investigated(mode=mode, confirmed=found, route=attribute(trial, budget, Thresholds()))
