"""Curate: from sources to judged, grouped, queryable manifests, each step only where something is new."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from filters.funnel import Funnel
from flywheel.workspace import Workspace
from pipelines import domains, duplicates, filtering, ingest, measure
from pipelines.engine import Progress, StepReport
from pipelines.executors import Executor


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
    """Ingest, measure cheapest first, find duplicates, judge. Raises what its steps raise."""
    reports = [
        ingest.ingest(workspace, sources, executor, progress, dataset=dataset, copy_all=copy_all),
        *(measure.measure(workspace, name, executor, progress) for name in measure.PASSES),
        domains.name_domains(workspace, progress),
        duplicates.find(workspace, progress),
    ]
    changed = any(report.run_id for report in reports)
    funnel = filtering.judge(workspace, record=changed)
    if changed and workspace.is_local:
        from flywheel.workspace.catalog import build
        from pipelines.judging import judging_views

        build(workspace, judging_views(workspace))
    return CurateReport(tuple(reports), funnel)
