"""Commands of the loop: evaluate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated

import typer

from flywheel.cli.app import DEFAULT, AsJson, ExecutorOption, Where, app, emit, open_workspace, progress, table
from flywheel.suites.figures import SCORE, Figure


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
    executor: ExecutorOption = "local",
    workspace: Where = DEFAULT,
    as_json: AsJson = False,
) -> None:
    """Draw a suite's prompts and score them, facet by facet. Run again, it does only what is new."""
    from pipelines.checkpoints import checkpoint_named
    from pipelines.evaluating import evaluate
    from pipelines.executors import executor as executor_named
    from pipelines.generators import generator_of
    from pipelines.judges import judge_of
    from pipelines.suites import items_of

    opened = open_workspace(workspace)
    items = items_of(suite, number, role)
    generator = generator_of(checkpoint_named(opened, checkpoint), {})
    judge = judge_of(opened, items[0].suite, role)
    with progress() as show:
        run = executor_named(executor, 1)
        found = evaluate(opened, generator, items, judge, run, show, seeds=seeds, repeats=repeats)
    document = {
        "checkpoint_id": generator.checkpoint_id,
        "steps": [step.document() for step in found.steps],
        "figures": [asdict(one) for one in found.figures],
    }

    emit(as_json, document, lambda say: _print(f"{checkpoint}, by {judge.version}", found.figures))


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
