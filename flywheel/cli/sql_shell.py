"""`flywheel sql`: one question, or a conversation."""

from __future__ import annotations

import re
import sys
from typing import Any

import typer

from flywheel.cli.app import table
from flywheel.cli.visible import visible
from flywheel.errors import FlywheelError, PolicyError, UsageError
from flywheel.workspace import Workspace
from flywheel.workspace.engine import Views
from flywheel.workspace.own_views import own_views
from flywheel.workspace.query import Stream, about_everything, answering, policy_text_at, versions_at
from flywheel.workspace.views import JUDGED

_FORMATS = ("table", "json", "csv", "parquet")
_JUDGED = re.compile(rf"\b({'|'.join(JUDGED)})\b", re.IGNORECASE)
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
        self._said: set[str] = set()

    def answer(self, query: str) -> None:
        """Answer one query on stdout.

        Raises QueryRefused or QueryFailed.
        """
        with answering(self._workspace, query, self._judging_views(query), self._versions) as told:
            for problem in told.left_out:
                if problem not in self._said:
                    self._said.add(problem)
                    typer.echo(f"left out {visible(problem)}", err=True)
            cut = _print(told, self._output) or told.cut
        if cut:
            typer.echo(cut, err=True)

    def _judging_views(self, query: str) -> Views:
        text = " ".join([query, *own_views(self._workspace).sql.values()])
        if not _JUDGED.search(text) and not about_everything(query):
            return {}
        from filters.policy import parse
        from pipelines.judging import judging_views

        if self._versions is None:
            return judging_views(self._workspace)
        policy = policy_text_at(self._workspace, self._versions)
        if policy is None:
            raise PolicyError("no policy was active then: there were no scores, verdicts or funnel to ask")
        return judging_views(self._workspace, parse(policy, stored=True))


def interact(session: Session) -> int:
    """Read statements that end in `;` until the input does; returns how many were not answered."""
    if sys.stdin.isatty():
        typer.echo("One SELECT, ended by ';'. Ctrl-D leaves. Tables and views: SHOW TABLES;", err=True)
    waiting, failed = "", 0
    while True:
        try:
            line = input("flywheel> " if not waiting else "      ... ") if sys.stdin.isatty() else next(sys.stdin)
        except (EOFError, StopIteration):
            break
        waiting += line + "\n"
        if line.rstrip().endswith(";"):
            failed += not _try(session, waiting)
            waiting = ""
    if waiting.strip():
        failed += not _try(session, waiting)
    return failed


def _try(session: Session, query: str) -> bool:
    try:
        session.answer(query)
    except FlywheelError as error:
        typer.echo(f"flywheel: {visible(str(error))}", err=True)
        return False
    return True


def _print(told: Stream, output: str) -> str | None:
    """Returns what to say of rows that are there and were not shown."""
    from flywheel.cli import answer_formats

    if output == "json":
        answer_formats.write_json(told.reader, sys.stdout)
    elif output == "csv":
        answer_formats.write_csv(told.reader.schema, told.reader, sys.stdout.buffer)
    elif output == "parquet":
        answer_formats.write_parquet(told.reader.schema, told.reader, sys.stdout.buffer)
    else:
        return _print_table(told)
    return None


def _print_table(told: Stream) -> str | None:
    from flywheel.cli.answer_formats import plain_values

    rows: list[list[Any]] = []
    for batch in told.reader:
        columns = [plain_values(column, keep_nan=True) for column in batch.columns]
        rows += [list(row) for row in zip(*columns, strict=True)]
        if len(rows) > _SHOWN:
            break
    table(None, told.reader.schema.names, rows[:_SHOWN])
    return f"the first {_SHOWN} rows; --format json, csv or parquet gives more" if len(rows) > _SHOWN else None
