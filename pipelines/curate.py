"""Curate: from sources to judged, grouped, queryable manifests, each step only where something is new."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from filters.funnel import Funnel
from flywheel.workspace import Workspace
from flywheel.workspace.catalog import build
from pipelines import aligning, captioning, domains, duplicates, embedding, filtering, indexing, ingest, measure
from pipelines.engine import Progress, StepReport
from pipelines.executors import Executor
from pipelines.judging import judging_views

NamedStep = tuple[str, Callable[[Progress], StepReport]]


@dataclass(frozen=True, slots=True)
class CurateReport:
    """The steps in order, and the funnel under the active policy."""

    steps: tuple[StepReport, ...]
    funnel: Funnel


def curate(
    workspace: Workspace,
    sources: Sequence[str],
    executor: Executor,
    progress: Progress,
    *,
    dataset: str | None = None,
    copy_all: bool = False,
) -> CurateReport:
    """Ingest, measure cheapest first, embed, find duplicates, caption, index, judge. Raises what its steps raise."""
    named = steps(workspace, sources, executor, dataset=dataset, copy_all=copy_all)
    return conclude(workspace, [run(progress) for _, run in named])


def steps(
    workspace: Workspace, sources: Sequence[str], executor: Executor, *, dataset: str | None, copy_all: bool
) -> Iterator[NamedStep]:
    """The steps in their order, by name: whoever drives them may show and retry each by itself."""
    yield "ingest", partial(ingest.ingest, workspace, sources, executor, dataset=dataset, copy_all=copy_all)
    for name in measure.PASSES:
        yield f"measure-{name}", partial(measure.measure, workspace, name, executor)
    yield "measure-domain", partial(domains.name_domains, workspace)
    yield "embed", partial(embedding.embed, workspace, executor)
    yield "duplicates", partial(duplicates.find, workspace)
    # Captions that came with the images may drop some before others are paid for.
    yield "align-raw", partial(aligning.align, workspace)
    yield "caption", partial(captioning.caption, workspace, executor)
    yield "align", partial(aligning.align, workspace)
    if workspace.is_local:
        yield "index", partial(indexing.index, workspace)


def conclude(workspace: Workspace, reports: Sequence[StepReport]) -> CurateReport:
    """Judge what the steps have left, and bring the catalogue up to date when anything changed."""
    changed = any(report.run_id for report in reports)
    funnel = filtering.judge(workspace, record=changed)
    if changed and workspace.is_local:
        build(workspace, judging_views(workspace))
    return CurateReport(tuple(reports), funnel)
