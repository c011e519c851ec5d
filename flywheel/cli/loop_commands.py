"""Commands of the loop: evaluate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flywheel.cli.app import DEFAULT, AsJson, ExecutorOption, Printer, Where, app, emit, open_workspace, progress, table
from flywheel.errors import UsageError
from flywheel.facets import SCORE
from flywheel.suites.figures import Figure

if TYPE_CHECKING:
    from flywheel.workspace import Workspace
    from pipelines.generators import Generator

_ENDPOINT_PX = 1024  # what is asked of an endpoint where nobody says; the release's own size


@app.command()
def evaluate(
    suite: Annotated[
        str,
        typer.Option(
            help="miniature[:L1,L4], geneval:FILE, dpg:FILE, parti:FILE, longtext:FILE, or a JSONL of your own."
        ),
    ],
    checkpoint: Annotated[str, typer.Option(help="bundled, a folder, or one that the workspace knows.")] = "bundled",
    number: Annotated[int | None, typer.Option(min=1, help="So many prompts; of the miniature, of each level.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Pictures a prompt.")] = 1,
    repeats: Annotated[int, typer.Option(min=1, help="How often a judge that is not certain looks at each.")] = 1,
    role: Annotated[str, typer.Option(help="Whose prompts of the miniature: triage, gate or report.")] = "triage",
    endpoint: Annotated[
        str | None,
        typer.Option(help="An OpenAI-style server, up to and with /v1, that serves the checkpoint by its name."),
    ] = None,
    size: Annotated[str | None, typer.Option(metavar="WxH", help="Pixels. Default: the model's own.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Default: the model's own.")] = None,
    guidance: Annotated[float | None, typer.Option(min=1, help="1: none. Default: the model's own.")] = None,
    executor: ExecutorOption = "local",
    workspace: Where = DEFAULT,
    as_json: AsJson = False,
) -> None:
    """Draw a suite's prompts and score them, facet by facet. Run again, it does only what is new."""
    from pipelines.collecting import collect
    from pipelines.evaluating import evaluate
    from pipelines.executors import executor as executor_named
    from pipelines.judges import judge_of
    from pipelines.suites import items_of

    opened = open_workspace(workspace)
    items = items_of(suite, number, role)
    width, height = _size(size)
    changes = {"width_px": width, "height_px": height, "steps": steps, "guidance": guidance}
    given = {name: value for name, value in changes.items() if value is not None}
    generator = _generator(opened, checkpoint, endpoint, given)
    judge = judge_of(opened, items[0].suite, role)
    with progress() as show:
        run = executor_named(executor, 1)
        found = evaluate(opened, generator, items, judge, run, show, seeds=seeds, repeats=repeats)
    collected = collect(opened)
    document = {
        "checkpoint_id": generator.checkpoint_id,
        "steps": [step.document() for step in found.steps],
        "figures": [asdict(one) for one in found.figures],
        "collected": asdict(collected),
    }

    def lines(say: Printer) -> None:
        _print(f"{checkpoint}, by {judge.version}", found.figures)
        say(f"{collected.failures} failures in {collected.modes} modes; next: flywheel triage")

    emit(as_json, document, lines)


def _generator(workspace: Workspace, checkpoint: str, endpoint: str | None, given: dict[str, Any]) -> Generator:
    """What draws: weights here, or what an endpoint serves under the checkpoint's name."""
    from pipelines.checkpoints import checkpoint_named, checkpoint_served
    from pipelines.generators import local_generator, served_generator

    if endpoint is None:
        return local_generator(checkpoint_named(workspace, checkpoint), given)
    served = checkpoint_served(workspace, checkpoint, endpoint)
    asked = {"width_px": _ENDPOINT_PX, "height_px": _ENDPOINT_PX, "steps": None, "guidance": None, **given}
    return served_generator(served, workspace.config.ingest.budgets, **asked)


def _size(size: str | None) -> tuple[int | None, int | None]:
    """Raises UsageError for what is no size."""
    if size is None:
        return None, None
    width, _, height = size.partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        raise UsageError(f"--size {size}: width and height in pixels, as 1024x768")
    return int(width), int(height)


def _print(title: str, found: Sequence[Figure]) -> None:
    """A row a slice: the suite's own figure with its interval, then each facet's mean."""
    facets = list(dict.fromkeys(one.facet for one in found if one.facet != SCORE))
    by_slice: dict[str, dict[str, Figure]] = {}
    for one in found:
        by_slice.setdefault(one.slice, {})[one.facet] = one
    rows = []
    for name, of in by_slice.items():
        score = of[SCORE]
        means = [f"{of[facet].mean:.3f}" if facet in of else "" for facet in facets]
        rows.append(
            [name, score.prompts, score.pictures, f"{score.mean:.3f}", f"{score.low:.2f}–{score.high:.2f}", *means]
        )
    table(title, ["of", "prompts", "pictures", "right", "95 %", *facets], rows)
