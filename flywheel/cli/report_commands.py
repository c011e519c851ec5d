"""The command that draws the first picture: report."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from flywheel.cli.app import DEFAULT, AsJson, Printer, Where, app, emit, open_workspace


@app.command()
def report(
    workspace: Where = DEFAULT,
    to: Annotated[
        str | None, typer.Option("--to", metavar="FILE", help="Default: reports/report.html in the workspace.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Draw the funnel, every score, and contact sheets of what was kept and dropped, as one web page."""
    from dashboards.report import write_report
    from flywheel.workspace import runs
    from flywheel.workspace.places import canonical_uri
    from pipelines.judging import judging_views
    from pipelines.policies import active_policy

    opened = open_workspace(workspace)
    policy = active_policy(opened)
    # A run: nothing is forgotten while it is drawn, and forgetting knows afterwards where it lies.
    run = runs.start(opened, "report", detail={"to": canonical_uri(to)} if to else {})
    with run.recorded({}):
        written = write_report(opened, policy, judging_views(opened, policy), to)
    run.end("finished", {"images": written.images})

    def lines(say: Printer) -> None:
        say(f"{written.report} ({written.images} images, {written.bytes / 1e6:.1f} MB)")

    emit(as_json, asdict(written), lines)
