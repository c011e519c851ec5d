"""`flywheel demo`: what `make demo` runs."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flywheel.cli.app import AsJson, Printer, app, emit, progress, table

if TYPE_CHECKING:
    from filters.planted.judge import FilterScore
    from flywheel.workspace import Workspace
    from pipelines.searching import Wanted

_STAGE = 1  # of the snapshot: pre-training
# Rules for which the bundled models abstain from photographs.
_ABSTAINED = ("aesthetic", "clip", "nsfw", "token_length")


@app.command()
def demo(
    to: Annotated[Path, typer.Option(help="Folder for the sample sets and their workspace.")] = Path("demo"),
    images: Annotated[
        int, typer.Option(min=60, help="Files in the set with planted faults of files and pixels.")
    ] = 400,
    world: Annotated[int, typer.Option(min=40, help="Pictures of the world that the bundled models know.")] = 160,
    as_json: AsJson = False,
) -> None:
    """Render images with planted faults, curate them with captions, score every filter against the planted truth,
    freeze what is left, and search it."""
    from flywheel.cli.funnel_print import funnel_document, print_funnel
    from pipelines import demo_world
    from pipelines.curate import curate
    from pipelines.demo import demo_workspace, sample_set, score_filters
    from pipelines.executors import executor

    def tell(text: str) -> None:
        if not as_json:
            typer.echo(text)

    tell(f"rendering {images} files and {world} pictures of a small world with planted truth into {to} ...")
    with progress() as show:
        planted = sample_set(to / "sample", images, show)
        pictured = demo_world.world_set(to / "world", world, show)
        workspace = demo_workspace(to / "workspace")
        tell("curating them: ingest, measure, embed, find duplicates, caption, index, judge ...")
        folders = [str(to / "sample" / "images"), str(to / "world" / "images")]
        report = curate(workspace, folders, executor("local", os.cpu_count() or 1), show)
    scores = [*score_filters(workspace, to / "sample", planted)]
    scores += demo_world.score_models(workspace, to / "world", pictured)
    snapshot = _frozen(workspace)
    pages = _pages(workspace, demo_world.searches(to / "world", pictured))
    captions = _captions(workspace)
    document = {
        "funnel": funnel_document(report.funnel),
        "filters": [asdict(score) | {"passed": score.passed} for score in scores],
        "captions": captions,
        "snapshot": snapshot,
        **pages,
    }

    def lines(say: Printer) -> None:
        print_funnel(report.funnel)
        say("")
        _print_scores(scores)
        say("")
        say(f"captions: {', '.join(f'{kind} {number}' for kind, number in captions.items())}")
        say(f"snapshot of stage {_STAGE}: {snapshot['snapshot_id']}, {snapshot['images']} images")
        say(f"three searches (words, a picture, both), as a contact sheet: {pages['searches']}")
        say(f"the report, one page to open in a browser: {pages['report']}")
        program, where = _program(), to / "workspace"
        say(f'ask it anything:   {program} sql "SELECT kind, text FROM captions" -w {where}')
        say(f'search it:         {program} search "a big red star" -w {where}')
        say(f"now your folder:   {program} init --profile cpu && {program} doctor && {program} curate YOUR_FOLDER")
        say(
            f"with a GPU:        {program} init --profile full && {program} doctor   (it prints how to serve the captioner)"
        )

    emit(as_json, document, lines)


def _frozen(workspace: Workspace) -> dict[str, Any]:
    """What survives the first stage; what the bundled models abstain from, photographs, is let through and named."""
    from flywheel.cli.export_commands import freeze_stage

    report = freeze_stage(workspace, _STAGE, ",".join(_ABSTAINED))
    return {"snapshot_id": report.snapshot_id, "images": report.images, "allowed_unjudged": list(_ABSTAINED)}


def _captions(workspace: Workspace) -> dict[str, int]:
    rows = workspace.query("SELECT kind, count(*) AS n FROM captions GROUP BY kind ORDER BY kind").to_pylist()
    return {row["kind"]: row["n"] for row in rows}


def _pages(workspace: Workspace, wanted: dict[str, Wanted]) -> dict[str, str]:
    """The report, and a contact sheet of the searches."""
    from dashboards.contact_sheet import contact_sheet
    from dashboards.report import page_target, write_page, write_report
    from flywheel.cli.search_commands import row_of
    from pipelines.judging import judging_views
    from pipelines.policies import active_policy
    from pipelines.searching import search

    rows = [row_of(title, search(workspace, one)) for title, one in wanted.items()]
    policy = active_policy(workspace)
    report = write_report(workspace, policy, judging_views(workspace, policy), None)
    searches = write_page(page_target(workspace, None, "searches.html"), contact_sheet(workspace, rows))
    return {"report": report.report, "searches": searches.report}


def _print_scores(scores: list[FilterScore]) -> None:
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


def _program() -> str:
    """How to call this program again: by name where the shell finds it, else by where it lies."""
    found, own = shutil.which("flywheel"), os.path.abspath(sys.argv[0])
    return "flywheel" if found and os.path.samefile(found, own) else os.path.relpath(own)
