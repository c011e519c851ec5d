"""Commands that move data: ingest, measure, duplicates, curate, retry, explain."""

from __future__ import annotations

from collections.abc import Sequence
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
    from filters.pairs import StagePairs
    from flywheel.workspace import Workspace
    from pipelines.engine import StepReport
    from pipelines.executors import Executor

KINDS = ("general", "text", "knowledge", "structured")  # of captions; named here so that nothing heavy is imported

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
def embed(
    workspace: Where = DEFAULT, executor: ExecutorOption = "local", workers: WorkersOption = 0, as_json: AsJson = False
) -> None:
    """Give images their vectors, taste, safety and watermark in one pass, and hold captions to them."""
    from pipelines.aligning import align
    from pipelines.embedding import embed

    opened = open_workspace(workspace)
    with progress() as show:
        reports = [embed(opened, _executor(opened, executor, workers), show), align(opened, show)]
    _emit_steps(as_json, reports)


@app.command()
def caption(
    workspace: Where = DEFAULT,
    kinds: Annotated[str, typer.Option(help=f"Of {', '.join(KINDS)}; none: as configured.")] = "",
    executor: ExecutorOption = "local",
    workers: WorkersOption = 0,
    as_json: AsJson = False,
) -> None:
    """Write the captions that images lack, each verified, and hold them to their images."""
    from flywheel.errors import UsageError
    from pipelines.aligning import align
    from pipelines.captioning import caption

    chosen = [kind.strip() for kind in kinds.split(",") if kind.strip()]
    if unknown := set(chosen) - set(KINDS):
        raise UsageError(f"no kind {', '.join(sorted(unknown))}; there are {', '.join(KINDS)}")
    opened = open_workspace(workspace)
    with progress() as show:
        run = _executor(opened, executor, workers)
        reports = [caption(opened, run, show, kinds=chosen or None), align(opened, show)]
    _emit_steps(as_json, reports)


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
    """The main job: ingest, measure, find duplicates, embed, caption, judge. Run again, it does only what is new."""
    from flywheel.cli.funnel_print import funnel_document, print_funnel
    from pipelines.curate import curate

    opened = open_workspace(workspace)
    with progress() as show:
        report = curate(opened, sources, _executor(opened, executor, workers), show, dataset=dataset, copy_all=copy)
    document = {"steps": [step.document() for step in report.steps], "funnel": funnel_document(report.funnel)}

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
    """Add edit pairs whose images are ingested already, measure each, and count them under the active policy.

    Images are named by image_id, by URI, or by a path relative to the listing. References may also be called
    reference, image, input or source; the target edited or output; the instruction text, prompt or edit: the first
    of these that a line has counts. Lines that were refused are looked at again each time.
    """
    from dataclasses import asdict

    from pipelines.pairs import add_pairs, pairs_under
    from pipelines.policies import active_policy

    opened = open_workspace(workspace)
    with progress() as show:
        report = add_pairs(opened, listing, dataset or listing.stem, show)
    policy = active_policy(opened)
    stages = pairs_under(opened, policy)

    def lines(say: Printer) -> None:
        _say_steps(say, [report])
        _say_pairs(f"edit pairs under policy {policy.name} ({policy.policy_id})", stages)

    emit(as_json, [report.document() | {"stages": [asdict(stage) for stage in stages]}], lines)


@app.command()
def retry(
    workspace: Where = DEFAULT,
    executor: ExecutorOption = "local",
    workers: WorkersOption = 0,
    as_json: AsJson = False,
) -> None:
    """Try the quarantined again: sources that failed to read, scores that failed to compute.

    Each source is listed as it was the first time, with its data set and --copy. Ends with code 1 when any
    cannot be read now; all others are tried.
    """
    from flywheel.errors import SourceError
    from pipelines.retry import retry

    opened = open_workspace(workspace)
    with progress() as show:
        report = retry(opened, _executor(opened, executor, workers), show)
    _emit_steps(as_json, list(report.steps))
    if report.unreachable:
        raise SourceError(f"not tried again, start retry once it is back: {'; '.join(report.unreachable)}")


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


def _emit_steps(as_json: bool, reports: list[StepReport]) -> None:
    emit(as_json, [report.document() for report in reports], lambda say: _say_steps(say, reports))


def _say_steps(say: Printer, reports: list[StepReport]) -> None:
    for report in reports:
        counts = {name.replace(":", " "): value for name, value in report.counts.items() if not _is_reason(name)}
        counts = {name: value for name, value in counts.items() if name.split()[0] not in KINDS}
        told = ", ".join(f"{name} {value}" for name, value in counts.items()) or report.why or "nothing to do"
        say(f"{report.step:16} {told if report.run_id else f'nothing new ({told})' if counts else told}")
    _say_captions([report for report in reports if report.step == "caption" and report.run_id])
    reasons = [(name, value) for report in reports for name, value in report.counts.items() if _is_reason(name)]
    if reasons:
        table(
            "not taken", ["outcome", "reason", "images"], [[*name.split(":"), value] for name, value in sorted(reasons)]
        )


def _say_captions(reports: Sequence[StepReport]) -> None:
    """Yield and cost of each kind."""
    rows: list[list[Any]] = []
    for report in reports:
        for kind in KINDS:
            told = {name.split(":")[1]: value for name, value in report.counts.items() if name.startswith(f"{kind}:")}
            if told.get("in"):
                share = f"{told.get('captioned', 0) / told['in']:.1%}"
                cost = [told.get("tokens", 0), told.get("prompt_tokens", 0), round(told.get("ms", 0) / 1000, 1)]
                rows.append([kind, told["in"], told.get("captioned", 0), share, told.get("asked", 0), *cost])
    if rows:
        table("captions", ["kind", "wanted", "accepted", "yield", "asked", "tokens", "prompt tokens", "seconds"], rows)


def _say_pairs(title: str, stages: Sequence[StagePairs]) -> None:
    rows: list[list[Any]] = []
    for stage in stages:
        told = [
            ", ".join(f"{name} {count}" for name, count in part.items()) for part in (stage.dropped, stage.unjudged)
        ]
        counts = [stage.pairs, stage.kept, sum(stage.dropped.values()), sum(stage.unjudged.values())]
        rows.append([stage.stage, *counts, *told])
    table(title, ["stage", "in", "kept", "dropped", "unjudged", "dropped by", "unjudged for want of"], rows)


def _is_reason(count: str) -> bool:
    """A count such as `rejected:truncated`, told apart from others that carry a colon (`pairs:proven`)."""
    return count.startswith(("rejected:", "quarantined:"))
