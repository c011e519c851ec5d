"""`flywheel sql`: one question, or a conversation."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping

import pyarrow as pa
import typer

from flywheel.cli.app import table
from flywheel.errors import FlywheelError, UsageError
from flywheel.workspace import Workspace
from flywheel.workspace.query import about_everything, ask, people_views, versions_at

_FORMATS = ("table", "json", "csv", "parquet")
# Views that need the active policy and the scorers; loading those costs as much as a small question itself.
_JUDGED = re.compile(r"\b(scores|verdicts|pair_verdicts|funnel|survivors)\b", re.IGNORECASE)
_SHOWN = 1_000  # rows of a table on a terminal; other formats give all


class Session:
    """A workspace (as of `at`) and an output format."""

    def __init__(self, workspace: Workspace, at: str | None, output: str) -> None:
        if output not in _FORMATS:
            raise UsageError(f"no format {output!r}; there are {', '.join(_FORMATS)}")
        if output == "parquet" and sys.stdout.isatty():
            raise UsageError("Parquet is binary: redirect it, as in `flywheel sql … --format parquet > answer.parquet`")
        self._workspace, self._output = workspace, output
        self._versions = versions_at(workspace, at) if at else None

    def answer(self, query: str) -> None:
        """Answer one query on stdout.

        Raises QueryRefused or QueryFailed.
        """
        answer = ask(self._workspace, query, self._judging_views(query), self._versions)
        _print(answer.rows, self._output)
        if answer.truncated:
            typer.echo(f"cut after {answer.rows.num_rows} rows ([sql] rows in flywheel.toml)", err=True)

    def _judging_views(self, query: str) -> Mapping[str, str]:
        text = " ".join([query, *people_views(self._workspace).values()])
        if not _JUDGED.search(text) and not about_everything(query):
            return {}
        from pipelines.judging import judging_views

        return judging_views(self._workspace)


def interact(session: Session) -> None:
    """Read statements that end in `;` until the input does."""
    if sys.stdin.isatty():
        typer.echo("One SELECT, ended by ';'. Ctrl-D leaves. Tables and views: SHOW TABLES;", err=True)
    waiting = ""
    while True:
        try:
            line = input("flywheel> " if not waiting else "      ... ") if sys.stdin.isatty() else next(sys.stdin)
        except (EOFError, StopIteration):
            break
        waiting += line + "\n"
        if line.rstrip().endswith(";"):
            _try(session, waiting)
            waiting = ""
    if waiting.strip():
        _try(session, waiting)


def _try(session: Session, query: str) -> None:
    try:
        session.answer(query)
    except FlywheelError as error:
        typer.echo(f"flywheel: {error}", err=True)


def _print(rows: pa.Table, output: str) -> None:
    if output == "json":
        typer.echo(json.dumps(rows.to_pylist(), default=str, ensure_ascii=False, indent=1))
    elif output == "csv":
        import pyarrow.csv

        pyarrow.csv.write_csv(_flat(rows), sys.stdout.buffer)
    elif output == "parquet":
        import pyarrow.parquet

        pyarrow.parquet.write_table(rows, sys.stdout.buffer)
    else:
        table(None, rows.column_names, [list(row.values()) for row in rows.slice(0, _SHOWN).to_pylist()])


def _flat(rows: pa.Table) -> pa.Table:
    """CSV has no lists or structs: they become JSON text."""
    columns = [
        pa.array([None if value is None else json.dumps(value, default=str) for value in column.to_pylist()])
        if pa.types.is_nested(column.type)
        else column
        for column in rows.columns
    ]
    return pa.table(columns, names=rows.column_names)
