"""What a flow run shows in the Prefect UI: progress of each step, the funnel, reject reasons, where to look."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from prefect.artifacts import (
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.runtime import flow_run
from prefect.utilities.urls import url_for

from filters.funnel import Funnel
from flywheel.workspace import Workspace
from pipelines.engine import Progress, StepReport

_EVERY_S = 5.0  # our choice: between two looks at a step in the UI
_SLUG_CHARS = 40

_REJECTS = (
    "SELECT step, status, reason, count(*) AS images FROM last_outcomes "
    "WHERE status IN ('rejected', 'quarantined') GROUP BY ALL ORDER BY step, images DESC, reason"
)


def slug(uri: str) -> str:
    """A workspace's name in deployments, tags and artifact keys: lower-case letters, digits and dashes.

    The end of the address is what tells workspaces apart; a hash keeps two of one ending apart.
    """
    from flywheel.seeds import stable_hash

    words = re.sub(r"[^a-z0-9]+", "-", uri.rstrip("/").lower()).strip("-")
    return f"{words[-_SLUG_CHARS:].strip('-')}-{stable_hash(uri)[:6]}"


@contextmanager
def progress_of(key: str) -> Iterator[Progress]:
    """A progress artifact, renewed every few seconds and full when the step ends well."""
    artifact = create_progress_artifact(0.0, key=key, description="begun")
    assert isinstance(artifact, UUID)
    at_s, last = time.monotonic(), "nothing to do"

    def show(step: str, done: int, total: int | None, counts: Mapping[str, int]) -> None:
        nonlocal at_s, last
        last = told(counts)
        if time.monotonic() - at_s >= _EVERY_S:
            at_s = time.monotonic()
            percent = 100.0 * done / total if total else 0.0
            update_progress_artifact(artifact, min(percent, 99.0), description=last)

    yield show
    update_progress_artifact(artifact, 100.0, description=last)


def told(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items() if ":" not in name) or "nothing to do"


def publish(workspace: Workspace, name: str, reports: Sequence[StepReport], funnel: Funnel) -> None:
    """The three artifacts of a finished flow run, under keys that end in the workspace's name."""
    create_table_artifact(
        funnel_rows(funnel),
        key=f"funnel-{name}",
        description=f"{funnel.images} images under policy {funnel.policy_name} ({funnel.policy_id})",
    )
    create_table_artifact(
        reject_rows(workspace, reports), key=f"reject-reasons-{name}", description="What was not taken, and why"
    )
    create_markdown_artifact(
        summary(workspace, reports, funnel), key=f"curate-{name}", description=f"curate {workspace.uri}"
    )


def funnel_rows(funnel: Funnel) -> list[dict[str, Any]]:
    """One row a stage, as `flywheel funnel` prints it."""
    return [
        {
            "stage": stage.stage,
            "in": stage.images,
            "kept": stage.total.kept,
            "dropped": stage.total.dropped_total,
            "unjudged": stage.total.unjudged_total,
            "dropped by": told(stage.total.dropped) if stage.total.dropped else "",
            "unjudged for want of": told(stage.total.unjudged) if stage.total.unjudged else "",
        }
        for stage in funnel.stages
    ]


def reject_rows(workspace: Workspace, reports: Sequence[StepReport]) -> list[dict[str, Any]]:
    """One row a step and reason over the whole workspace, beside what this run added."""
    new = {report.step: report.counts for report in reports if report.run_id}
    return [
        row | {"this run": new.get(row["step"], {}).get(f"{row['status']}:{row['reason']}", 0)}
        for row in workspace.query(_REJECTS).to_pylist()
    ]


def summary(workspace: Workspace, reports: Sequence[StepReport], funnel: Funnel) -> str:
    """Markdown: which runs did what, and where to look further."""
    rows = [f"| {report.step} | {_code(report.run_id)} | {told(report.counts)} |" for report in reports]
    last = funnel.stages[-1]
    lines = [
        f"# {workspace.uri}",
        f"{funnel.images} images; stage 1 keeps {funnel.stage(1).total.kept}, stage {last.stage} keeps {last.total.kept}.",
        "| step | run | counts |\n|---|---|---|\n" + "\n".join(rows),
        f"Flow run: [{flow_run.name}]({url_for('flow-run', obj_id=flow_run.id)})",
        f"Report: {_report(workspace)}",
        f"More: `flywheel runs show RUN -w {workspace.uri}`, `flywheel explain IMAGE`, `flywheel sql`",
    ]
    return "\n\n".join(lines)


def _report(workspace: Workspace) -> str:
    pages = [stored for stored in workspace.store.list("reports") if stored.uri.endswith(".html")]
    if not pages:
        return f"none yet; `flywheel report -w {workspace.uri}` draws it"
    newest = max(page.uri for page in pages)
    return f"[{newest.rsplit('/', 1)[-1]}]({newest}) of {len(pages)}"


def _code(run_id: str | None) -> str:
    return f"`{run_id}`" if run_id else "nothing new"
