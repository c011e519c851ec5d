"""Commands about the workspace itself: init, migrate, status, runs, sql, catalog, maintain."""

from __future__ import annotations

import json
import shlex
import sys
from typing import Annotated, Any

import typer

from flywheel.cli.app import DEFAULT, AsJson, Printer, Where, app, emit, open_workspace, table
from flywheel.cli.visible import visible

runs_app = typer.Typer(help="What was run, when, over which table versions.", no_args_is_help=True)
app.add_typer(runs_app, name="runs")


@app.command()
def init(
    workspace: Where = DEFAULT,
    profile: Annotated[str, typer.Option(help="miniature, cpu or full: the policy to judge by.")] = "miniature",
    as_json: AsJson = False,
) -> None:
    """Create a workspace: its tables, flywheel.toml, and an active policy."""
    from flywheel.errors import UsageError
    from pipelines.judging import init_workspace

    if profile not in ("miniature", "cpu", "full"):
        raise UsageError(f"no profile {profile!r}; there are miniature, cpu and full")
    made = init_workspace(workspace, profile)
    document = {"workspace": made.uri, "format": made.format, "profile": profile}
    emit(
        as_json,
        document,
        lambda say: say(f"made {made.uri} ({profile}); next: flywheel curate FOLDER -w {shlex.quote(workspace)}"),
    )


@app.command()
def migrate(
    workspace: Where = DEFAULT,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would change.")] = False,
    as_json: AsJson = False,
) -> None:
    """Bring an older workspace to this program's format. Only adds tables and nullable columns."""
    from flywheel.workspace import Workspace

    changes = Workspace.locate(workspace).migrate(dry_run=dry_run)
    verb = "would add" if dry_run else "added"

    def lines(say: Printer) -> None:
        for change in changes:
            say(f"{verb} {change}")
        say(f"{len(changes)} changes" if changes else "nothing to migrate")

    emit(as_json, {"dry_run": dry_run, "changes": changes}, lines)


@app.command()
def status(workspace: Where = DEFAULT, as_json: AsJson = False) -> None:
    """What the workspace holds and what happened last."""
    from pipelines.status import summary

    told = summary(open_workspace(workspace))

    def lines(say: Printer) -> None:
        for name, value in told.items():
            say(
                f"{name:18} {value if not isinstance(value, dict) else ', '.join(f'{k} {v}' for k, v in value.items())}"
            )

    emit(as_json, told, lines)


@runs_app.command("list")
def runs_list(
    workspace: Where = DEFAULT,
    limit: Annotated[int, typer.Option(min=1, max=1_000_000, help="The newest so many.")] = 20,
    as_json: AsJson = False,
) -> None:
    """The newest runs."""
    rows = (
        open_workspace(workspace)
        .query(
            "SELECT run_id, step, status, started_at, round(wall_s, 1) AS wall_s, round(cpu_s, 1) AS cpu_s, counts "
            f"FROM runs ORDER BY started_at DESC, run_id DESC LIMIT {limit}"
        )
        .to_pylist()
    )
    emit(
        as_json,
        rows,
        lambda say: table(
            None,
            ["run", "step", "status", "started", "wall s", "cpu s", "counts"],
            [list(row.values()) for row in rows],
        ),
    )


@runs_app.command("show")
def runs_show(run_id: str, workspace: Where = DEFAULT, as_json: AsJson = False) -> None:
    """Everything one run recorded."""
    found = _run(workspace, run_id)

    def lines(say: Printer) -> None:
        for name, value in found.items():
            say(f"{name:18} {value}")

    emit(as_json, found, lines)


@runs_app.command("retract")
def runs_retract(
    run_id: str,
    workspace: Where = DEFAULT,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count what would go.")] = False,
    as_json: AsJson = False,
) -> None:
    """Take back the rows that a run added (the bytes stay where they are)."""
    from pipelines.retract import retract

    removed = retract(open_workspace(workspace), run_id, dry_run=dry_run)

    def lines(say: Printer) -> None:
        for name, count in removed.items():
            say(f"{'would remove' if dry_run else 'removed'} {count} rows of {name}")

    emit(as_json, {"run_id": run_id, "dry_run": dry_run, "removed": removed}, lines)


@app.command()
def sql(
    query: Annotated[str | None, typer.Argument(help="One SELECT; none: ask interactively.")] = None,
    workspace: Where = DEFAULT,
    output: Annotated[str, typer.Option("--format", help="table, json, csv or parquet.")] = "table",
    at: Annotated[str | None, typer.Option(help="Run id or time: the tables as they were then.")] = None,
    as_json: AsJson = False,
) -> None:
    """Ask the tables and views a question in SQL. Contained: one SELECT, nothing else is readable."""
    from flywheel.cli import sql_shell
    from flywheel.workspace import Workspace

    session = sql_shell.Session(Workspace.open(workspace), at, "json" if as_json else output)
    if query is None:
        failed = sql_shell.interact(session)
        if failed and not sys.stdin.isatty():  # a script wants to know; a person has seen it
            raise typer.Exit(1)
    else:
        session.answer(query)


@app.command()
def catalog(workspace: Where = DEFAULT, as_json: AsJson = False) -> None:
    """Build catalog.duckdb (views only) and print the line that opens it read-only."""
    from flywheel.workspace.catalog import build
    from pipelines.judging import judging_views

    opened = open_workspace(workspace)
    path, refused = build(opened, judging_views(opened))
    line = f"duckdb -readonly {shlex.quote(str(path))}"

    def lines(say: Printer) -> None:
        for problem in refused:
            typer.echo(f"left out {visible(problem)}", err=True)
        say(line)

    emit(as_json, {"catalog": str(path), "open": line, "left_out": refused}, lines)


@app.command()
def maintain(
    workspace: Where = DEFAULT,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    as_json: AsJson = False,
) -> None:
    """Compact tables, vacuum what nothing pins, drop packs that nothing refers to, bring the search index up to the tables."""
    from pipelines.upkeep import maintain

    done = maintain(open_workspace(workspace), dry_run=dry_run)

    def lines(say: Printer) -> None:
        rows: list[list[Any]] = [
            [t["table"], t["files_before"], t["files_after"], t["vacuumed"]] for t in done["tables"]
        ]
        table(None, ["table", "files before", "after", "vacuumed"], rows)
        say(f"{len(done['packs'])} packs {'would be ' if dry_run else ''}removed")
        if done.get("index"):
            say(f"search index: {', '.join(f'{name} {value}' for name, value in done['index'].items())}")

    emit(as_json, done, lines)


def _run(workspace: str, run_id: str) -> dict[str, Any]:
    from flywheel.errors import UsageError

    rows: list[dict[str, Any]] = open_workspace(workspace).query("SELECT * FROM runs").to_pylist()
    found = next((row for row in rows if row["run_id"] == run_id), None)
    if found is None:
        raise UsageError(f"no run {run_id!r}; see `flywheel runs list`")
    for column in ("driver", "counts", "detail", "table_versions", "table_versions_in"):
        found[column] = json.loads(found[column]) if found[column] else None
    return found
