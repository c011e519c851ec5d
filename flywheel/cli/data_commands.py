"""Commands that move data: ingest, measure, duplicates, curate, retry, explain."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flywheel.cli.app import (
    DEFAULT,
    AsJson,
    ExecutorOption,
    Printer,
    Where,
    WorkersOption,
    app,
    emit,
    open_workspace,
    progress,
    table,
)

if TYPE_CHECKING:
    from flywheel.workspace import Workspace
    from pipelines.engine import StepReport
    from pipelines.executors import Executor

Sources = Annotated[
    list[str],
    typer.Argument(help="Folders, tars, Parquet/JSONL/CSV listings, Hugging Face datasets on disk, s3:// prefixes."),
]
DatasetOption = Annotated[str | None, typer.Option(help="Dataset name to record; default: the source's own name.")]
CopyOption = Annotated[bool, typer.Option("--copy", help="Copy all bytes into packs instead of referring to them.")]


@app.command()
def ingest(
    sources: Sources,
    workspace: Where = DEFAULT,
    dataset: DatasetOption = None,
    copy: CopyOption = False,
    executor: ExecutorOption = "local",
    workers: WorkersOption = 0,
    as_json: AsJson = False,
) -> None:
    """Take in images: each ends as new, known, rejected with a reason, or quarantined."""
    from pipelines.ingest import ingest

    opened = open_workspace(workspace)
    with progress() as show:
        report = ingest(opened, sources, _executor(opened, executor, workers), show, dataset=dataset, copy_all=copy)
    _emit_steps(as_json, [report])


@app.command()
def measure(
    passes: Annotated[list[str] | None, typer.Argument(help="scaled, native, ocr, domain; none: all.")] = None,
    workspace: Where = DEFAULT,
    executor: ExecutorOption = "local",
    workers: WorkersOption = 0,
    as_json: AsJson = False,
) -> None:
    """Fill in the scores that images lack at the scorers' present versions."""
    from flywheel.errors import UsageError
    from pipelines.domains import name_domains
    from pipelines.measure import PASSES, measure

    chosen = passes or [*PASSES, "domain"]
    if unknown := set(chosen) - {*PASSES, "domain"}:
        raise UsageError(f"no pass {', '.join(sorted(unknown))}; there are {', '.join(PASSES)} and domain")
    opened = open_workspace(workspace)
    run = _executor(opened, executor, workers)
    with progress() as show:
        reports = [
            name_domains(opened, show) if name == "domain" else measure(opened, name, run, show) for name in chosen
        ]
    _emit_steps(as_json, reports)


@app.command()
def duplicates(workspace: Where = DEFAULT, as_json: AsJson = False) -> None:
    """Find near duplicates, prove each one, and group them around representatives."""
    from pipelines.duplicates import find

    with progress() as show:
        report = find(open_workspace(workspace), show)
    _emit_steps(as_json, [report])


@app.command()
def curate(
    sources: Sources,
    workspace: Where = DEFAULT,
    dataset: DatasetOption = None,
    copy: CopyOption = False,
    executor: ExecutorOption = "local",
    workers: WorkersOption = 0,
    as_json: AsJson = False,
) -> None:
    """The main job: ingest, measure, find duplicates, judge. Run again, it does only what is new."""
    from flywheel.cli.funnel_print import funnel_document, print_funnel
    from pipelines.curate import curate

    opened = open_workspace(workspace)
    with progress() as show:
        report = curate(opened, sources, _executor(opened, executor, workers), show, dataset=dataset, copy_all=copy)
    document = {"steps": [_step(step) for step in report.steps], "funnel": funnel_document(report.funnel)}

    def lines(say: Printer) -> None:
        _say_steps(say, list(report.steps))
        print_funnel(report.funnel)

    emit(as_json, document, lines)


@app.command()
def pairs(
    listing: Annotated[Path, typer.Argument(help='JSONL of {"references": [...], "target": ..., "instruction": ...}.')],
    workspace: Where = DEFAULT,
    dataset: DatasetOption = None,
    as_json: AsJson = False,
) -> None:
    """Add edit pairs whose images are ingested already, and measure how consistent each is."""
    from pipelines.pairs import add_pairs

    with progress() as show:
        report = add_pairs(open_workspace(workspace), listing, dataset or listing.stem, show)
    _emit_steps(as_json, [report])


@app.command()
def retry(
    workspace: Where = DEFAULT,
    executor: ExecutorOption = "local",
    workers: WorkersOption = 0,
    as_json: AsJson = False,
) -> None:
    """Try the quarantined again: sources that failed to read, scores that failed to compute."""
    from pipelines.ingest import ingest, quarantined_origins
    from pipelines.measure import PASSES, measure

    opened = open_workspace(workspace)
    run = _executor(opened, executor, workers)
    with progress() as show:
        origins = quarantined_origins(opened)
        reports = [ingest(opened, origins, run, show, retry=True)] if origins else []
        reports += [measure(opened, name, run, show, retry=True) for name in PASSES]
    _emit_steps(as_json, reports)


@app.command()
def explain(image: str, workspace: Where = DEFAULT, as_json: AsJson = False) -> None:
    """Tell everything about one image: where it was seen, its scores, its verdict at every stage and why."""
    from flywheel.cli.explain_print import print_explanation
    from pipelines.explain import explain as explained

    told = explained(open_workspace(workspace), image)
    emit(as_json, told, lambda say: print_explanation(told, say))


def _executor(workspace: Workspace, name: str, workers: int) -> Executor:
    import os

    from pipelines.executors import executor

    return executor(name, workers or workspace.config.run.workers or os.cpu_count() or 1)


def _step(report: StepReport) -> dict[str, Any]:
    return {"step": report.step, "run_id": report.run_id, "counts": dict(report.counts)}


def _emit_steps(as_json: bool, reports: list[StepReport]) -> None:
    emit(as_json, [_step(report) for report in reports], lambda say: _say_steps(say, reports))


def _say_steps(say: Printer, reports: list[StepReport]) -> None:
    for report in reports:
        counts = {name.replace(":", " "): value for name, value in report.counts.items() if not _is_reason(name)}
        told = ", ".join(f"{name} {value}" for name, value in counts.items()) or "nothing to do"
        say(f"{report.step:16} {told if report.run_id else f'nothing new ({told})' if counts else told}")
    reasons = [(name, value) for report in reports for name, value in report.counts.items() if _is_reason(name)]
    if reasons:
        table(
            "not taken", ["outcome", "reason", "images"], [[*name.split(":"), value] for name, value in sorted(reasons)]
        )


def _is_reason(count: str) -> bool:
    """A count such as `rejected:truncated`, told apart from others that carry a colon (`pairs:proven`)."""
    return count.startswith(("rejected:", "quarantined:"))
