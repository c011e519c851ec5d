"""Confirm: a mode that was found or reported is drawn again, on prompts that nobody has seen fail.

What stood out by luck does not stand out twice. Half of the prompts have the mode's parts, half do not.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from flywheel.errors import UsageError
from flywheel.triage.modes import Mode, measured
from flywheel.workspace import Workspace
from pipelines.collecting import seen_of
from pipelines.engine import Progress
from pipelines.evaluating import evaluate
from pipelines.executors import Executor
from pipelines.fresh import fresh_prompts, generations_of, number_of, parts_of
from pipelines.generators import Generator
from pipelines.judges import Judge
from pipelines.mode_events import Event, happened
from pipelines.modes_shown import ModeShown

PROMPTS, SEEDS = 24, 2  # with the parts, and as many without; our choice
STANDS_OUT = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmed:
    """`mode`: how it stands on fresh prompts."""

    mode: Mode
    stands_out: bool


def confirm(
    workspace: Workspace, shown: ModeShown, generator: Generator, judge: Judge, executor: Executor, progress: Progress
) -> Confirmed:
    """Draw it again. Raises UsageError for a mode without a concept, or of which no fresh prompt can be made."""
    stream = [number_of(shown.mode_id), number_of(generator.checkpoint_id)]
    inside = fresh_prompts(workspace, shown.parts, PROMPTS, [*stream, 0])
    outside = fresh_prompts(workspace, (), PROMPTS, [*stream, 1])
    outside = [item for item in outside if not set(shown.parts) <= parts_of(item)]
    items = [*inside, *outside]
    evaluate(workspace, generator, items, judge, executor, progress, seeds=SEEDS)
    seen = seen_of(workspace, generations_of(workspace, generator, items), judge.version)
    mode = measured(seen, shown.facet, shown.parts)
    if mode is None:
        raise UsageError(f"{shown.name}: its facet was asked of none of {len(inside)} fresh prompts")
    found = Confirmed(mode=mode, stands_out=mode.p <= STANDS_OUT)
    detail = {name: value for name, value in asdict(mode).items() if name not in ("pictures", "facet", "parts")}
    events = [Event(mode_id=shown.mode_id, event="confirmed" if found.stands_out else "not confirmed", detail=detail)]
    if found.stands_out and shown.state == "candidate":
        events.append(Event(mode_id=shown.mode_id, event="open", detail={}))
    happened(workspace, events, actor="flywheel")
    return found
