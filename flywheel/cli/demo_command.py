"""`flywheel demo`: what `make demo` runs."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from flywheel.cli.app import AsJson, Printer, app, emit, progress, table


@app.command()
def demo(
    to: Annotated[Path, typer.Option(help="Folder for the sample set and its workspace.")] = Path("demo"),
    images: Annotated[int, typer.Option(min=60, help="Files in the sample set.")] = 400,
    as_json: AsJson = False,
) -> None:
    """Render images with planted faults, curate them, and score every filter against the planted truth."""
    from dashboards.report import write_report
    from flywheel.cli.funnel_print import funnel_document, print_funnel
    from pipelines.curate import curate
    from pipelines.demo import demo_workspace, sample_set, score_filters
    from pipelines.executors import executor
    from pipelines.judging import judging_views
    from pipelines.policies import active_policy

    if not as_json:
        typer.echo(f"rendering {images} files with planted truth into {to}/sample ...")
    with progress() as show:
        planted = sample_set(to / "sample", images, show)
        workspace = demo_workspace(to / "workspace")
        if not as_json:
            typer.echo("curating them: ingest, measure, find duplicates, judge ...")
        report = curate(workspace, [str(to / "sample" / "images")], executor("local", os.cpu_count() or 1), show)
    scores = score_filters(workspace, to / "sample", planted)
    policy = active_policy(workspace)
    page = write_report(workspace, policy, judging_views(workspace, policy), None).report
    document = {
        "funnel": funnel_document(report.funnel),
        "filters": [asdict(score) | {"passed": score.passed} for score in scores],
        "report": str(page),
    }

    def lines(say: Printer) -> None:
        print_funnel(report.funnel)
        say("")
        columns = ["filter", "precision", "recall", "planted", "found", "target", "", "what is counted"]
        rows = [
            [
                s.name,
                f"{s.precision:.3f}",
                f"{s.recall:.3f}",
                s.planted,
                s.found,
                s.target,
                "ok" if s.passed else "MISSED",
                s.note,
            ]
            for s in scores
        ]
        table("every filter against the planted truth", columns, rows)
        say("")
        say(f"the report, one page to open in a browser: {page}")
        program = _program()
        say(f'ask it anything:   {program} sql "SELECT * FROM rejects" -w {to / "workspace"}')
        say(f"now your folder:   {program} init --profile cpu && {program} curate YOUR_FOLDER && {program} report")

    emit(as_json, document, lines)


def _program() -> str:
    """How to call this program again: by name where the shell finds it, else by where it lies."""
    found, own = shutil.which("flywheel"), os.path.abspath(sys.argv[0])
    return "flywheel" if found and os.path.samefile(found, own) else os.path.relpath(own)
