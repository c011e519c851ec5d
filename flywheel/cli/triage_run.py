"""`flywheel triage run`: experiments on modes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from flywheel.cli.app import DEFAULT, AsJson, ExecutorOption, Printer, Where, emit, open_workspace, progress
from flywheel.cli.triage_commands import triage_app

if TYPE_CHECKING:
    from pipelines.investigating import Investigated

_MODES, _BUDGET = 5, 2_000  # our choice


@triage_app.command()
def run(
    mode: Annotated[list[str] | None, typer.Argument(help="Ids of modes; none: the costliest.")] = None,
    checkpoint: Annotated[str, typer.Option(help="bundled, a folder, or one that the workspace knows.")] = "bundled",
    number: Annotated[int, typer.Option(min=1, help="So many modes, where none is named.")] = _MODES,
    budget: Annotated[int, typer.Option(min=1, help="Pictures that may be drawn or judged for a mode.")] = _BUDGET,
    executor: ExecutorOption = "local",
    workspace: Where = DEFAULT,
    as_json: AsJson = False,
) -> None:
    """Draw modes again on fresh prompts; of those that stand find out why they fail, and which track heals them."""
    from model.miniature.suite import NAME
    from pipelines.checkpoints import checkpoint_named
    from pipelines.executors import executor as executor_named
    from pipelines.generators import local_generator
    from pipelines.investigating import investigate
    from pipelines.judges import judge_of
    from pipelines.modes_shown import mode_named, modes_shown

    opened = open_workspace(workspace)
    chosen = [mode_named(opened, name) for name in mode or ()] or _concepts(modes_shown(opened))[:number]
    generator = local_generator(checkpoint_named(opened, checkpoint), {})
    judge = judge_of(opened, NAME, "triage")
    with progress() as show:
        workers = executor_named(executor, 1)
        found = list(investigate(opened, chosen, generator, judge, workers, show, budget=budget))

    def lines(say: Printer) -> None:
        for one in found:
            _say(say, one)
        say("next: flywheel triage" if found else "no mode to look into; `flywheel evaluate` brings some")

    emit(as_json, [_document(one) for one in found], lines)


def _concepts(shown: list[Any]) -> list[Any]:
    """Modes that can be drawn again: those of a concept."""
    return [one for one in shown if one.parts]


def _document(one: Investigated) -> dict[str, Any]:
    document: dict[str, Any] = {"mode_id": one.mode.mode_id, "name": one.mode.name, "skipped": one.skipped or None}
    if one.confirmed:
        now = one.confirmed.mode
        document |= {"stands_out": one.confirmed.stands_out, "failing": now.failing, "prompts": now.prompts, "p": now.p}
    if one.route:
        route = one.route
        document |= {
            "cause": route.cause,
            "track": route.track,
            "is_sure": route.is_sure,
            "because": list(route.because),
        }
    return document


def _say(say: Printer, one: Investigated) -> None:
    say(f"{one.mode.mode_id[:8]}  {one.mode.name}")
    if one.skipped:
        say(f"  skipped: {one.skipped}")
    if one.confirmed:
        now = one.confirmed.mode
        again = "stands out again" if one.confirmed.stands_out else "does not stand out again"
        say(
            f"  {again}: {now.failing} of {now.prompts} fresh prompts fail, elsewhere {now.elsewhere:.0%} (p {now.p:.1g})"
        )
    if one.route:
        say(f"  {one.route.cause} → {one.route.track}{'' if one.route.is_sure else ' (not sure)'}")
        for because in one.route.because:
            say(f"    {because}")
