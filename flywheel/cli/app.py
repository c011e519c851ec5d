"""The typer application and what all commands share: where, how to print, how to show progress."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flywheel.cli.visible import escaped, visible

if TYPE_CHECKING:
    from flywheel.workspace import Workspace
    from pipelines.engine import Progress

app = typer.Typer(
    help="A data engine and closed-loop flywheel for text-to-image models.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Where = Annotated[
    str, typer.Option("--workspace", "-w", envvar="FLYWHEEL_WORKSPACE", help="Workspace folder or object-store URI.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]
ExecutorOption = Annotated[
    str, typer.Option("--executor", help="local processes, or ray (RAY_ADDRESS or a local cluster).")
]
WorkersOption = Annotated[int, typer.Option("--workers", min=0, help="Workers; 0: as configured, else one a core.")]
DEFAULT = "./workspace"

Printer = Callable[[str], None]


def open_workspace(where: str) -> Workspace:
    """Open a workspace with every scorer's table in place."""
    from pipelines.judging import open_workspace

    return open_workspace(where)


def emit(as_json: bool, document: Any, lines: Callable[[Printer], None]) -> None:
    """Print a command's result: the document as JSON, or its lines for a person."""
    if as_json:
        typer.echo(escaped(json.dumps(document, indent=2, sort_keys=True, default=str, ensure_ascii=False)))
    else:
        lines(lambda text: typer.echo(visible(text)))


def table(title: str | None, columns: list[str], rows: list[list[Any]]) -> None:
    """Print a table, as wide as it needs when the output is a file. No text in it is markup."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(width=None if sys.stdout.isatty() else 160)
    head = Text(visible(title), style="table.title") if title else None
    drawn = Table(title=head, title_justify="left", header_style="bold", box=None, pad_edge=False)
    for number, column in enumerate(columns):
        numeric = bool(rows) and all(isinstance(row[number], int | float) for row in rows)
        drawn.add_column(Text(visible(column, keep="")), justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        drawn.add_row(*[Text(visible(_cell(value), keep="")) for value in row])
    console.print(drawn)


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value)


@contextmanager
def progress() -> Iterator[Progress]:
    """Progress bars on stderr, one a step; plain silence when stderr is no terminal."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description:16}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[counts]}", markup=False),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal) as bars:
        tasks: dict[str, Any] = {}

        def show(step: str, done: int, total: int | None, counts: Mapping[str, int]) -> None:
            if step not in tasks:
                tasks[step] = bars.add_task(step, total=total, counts="")
            told = "  ".join(
                f"{name} {value}" for name, value in counts.items() if value and ":" not in name and name != "in"
            )
            bars.update(tasks[step], completed=done, total=total or done, counts=told)

        yield show


from flywheel.cli import (  # noqa: E402, F401  (they register themselves on `app`)
    care_commands,
    data_commands,
    demo_command,
    export_commands,
    feedback_commands,
    loop_commands,
    model_commands,
    policy_commands,
    report_commands,
    search_commands,
    train_commands,
    triage_commands,
    triage_decisions,
    triage_run,
    up_commands,
    workspace_commands,
)
