"""Commands of the loop: evaluate."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from flywheel.cli.app import DEFAULT, AsJson, ExecutorOption, Printer, Where, app, emit, open_workspace, progress, table


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

    def lines(say: Printer) -> None:
        rows = [
            [one.slice, one.facet, f"{one.mean:.3f}", f"{one.low:.3f} to {one.high:.3f}", one.prompts, one.pictures]
            for one in found.figures
        ]
        table(f"{checkpoint}, by {judge.version}", ["of", "facet", "right", "95 %", "prompts", "pictures"], rows)

    emit(as_json, document, lines)
