"""The command that keeps the data engine up: a Prefect server and the deployments it schedules."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from flywheel.cli.app import DEFAULT, AsJson, ExecutorOption, Where, app, open_workspace

if TYPE_CHECKING:
    from pipelines.executors import ExecutorName
    from pipelines.serving import Up


@app.command()
def up(
    workspace: Where = DEFAULT,
    source: Annotated[list[str] | None, typer.Option(help="What each run curates; give it again for more.")] = None,
    cron: Annotated[str | None, typer.Option(help="When to run, as in '0 3 * * *'; none: only when asked.")] = None,
    port: Annotated[int, typer.Option(help="Port of a server started here.", min=1, max=65535)] = 4200,
    executor: ExecutorOption = "local",
    as_json: AsJson = False,
) -> None:
    """Serve the curate flow: uses the Prefect server of PREFECT_API_URL, else starts one; Ctrl-C ends both."""
    from dataclasses import asdict

    from flywheel.errors import UsageError
    from flywheel.workspace.places import canonical_uri
    from pipelines.serving import serve_curate

    if executor != "local" and executor != "ray":
        raise UsageError(f"no executor {executor!r}; there are local and ray")
    opened = open_workspace(workspace)

    def ready(now: Up) -> None:
        typer.echo(json.dumps(asdict(now), sort_keys=True) if as_json else _told(now, bool(source)))

    if not as_json:
        typer.echo("starting; the first start of a server takes up to a minute", err=True)
    sources = [canonical_uri(name) for name in source or []]
    name: ExecutorName = "ray" if executor == "ray" else "local"
    serve_curate(opened, sources, cron=cron, port=port, executor_name=name, ready=ready)


def _told(now: Up, has_sources: bool) -> str:
    lines = [
        f"UI          {now.ui_url}",
        f"deployment  {now.deployment}, {f'scheduled {now.cron}' if now.cron else 'runs when asked'}",
        f"run it now  PREFECT_API_URL={now.api_url} prefect deployment run '{now.deployment}'"
        + ("" if has_sources else " -p sources='[\"FOLDER\"]'"),
        "Ctrl-C ends it",
    ]
    return "\n".join(lines)
