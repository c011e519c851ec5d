"""SQL from people, contained: one SELECT, in a child process that can read the tables and nothing else."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from flywheel.errors import QueryFailed, QueryRefused, UsageError
from flywheel.workspace.engine import Plan, Views, plan, run
from flywheel.workspace.own_views import OwnViews, line, own_views
from flywheel.workspace.tables import Relation
from flywheel.workspace.workspace import Workspace

_REFUSED = 3


@dataclass(frozen=True, slots=True)
class Stream:
    """An answer as it is read: batches, what cut it (a line, if anything did), and the own views left out (a line each)."""

    reader: pa.RecordBatchReader
    cut: str | None
    left_out: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """The rows, and whether a limit cut them."""

    rows: pa.Table
    truncated: bool
    left_out: tuple[str, ...]


def ask(workspace: Workspace, sql: str, views: Views, versions: Mapping[str, int] | None = None) -> Answer:
    """Answer one SELECT, held in memory. Raises as `answering` does."""
    with answering(workspace, sql, views, versions) as told:
        return Answer(told.reader.read_all(), told.cut is not None, told.left_out)


@contextmanager
def answering(
    workspace: Workspace, sql: str, views: Views, versions: Mapping[str, int] | None = None
) -> Iterator[Stream]:
    """Answer one SELECT over the tables (at `versions`, when given).

    The whole answer waits in a file without a name, so that a query that fails half-way has answered nothing,
    and so that it is read as slowly as it is wanted.
    Raises QueryRefused for anything but one SELECT within the tables, QueryFailed for what DuckDB
    could not answer within the workspace's limits.
    """
    own = own_views(workspace, views)
    prepared = plan(workspace.tables, None if about_everything(sql) else sql, {**views, **own.sql}, versions)
    if versions is not None:
        _require_files(prepared)
    with tempfile.TemporaryFile() as answer:
        told = _run_child(workspace, _job(workspace, sql, prepared, own.sql), answer)
        left_out = (*_named(own, sql), *(line(name, why) for name, why in told["left_out"]))
        answer.seek(0)
        yield Stream(pa.ipc.open_stream(answer), _cut(workspace, told), left_out)


def _named(own: OwnViews, sql: str) -> list[str]:
    """Of the files that are no views, those that the question seems to mean."""
    words = re.findall(r"\w+", sql.lower())
    return [told for name, told in own.left_out.items() if name.lower() in words or about_everything(sql)]


def _job(workspace: Workspace, sql: str, prepared: Plan, own: Mapping[str, str]) -> dict[str, Any]:
    limits = workspace.config.sql
    return {
        "setup": prepared.statements(but=own),
        "own": [(name, own[name]) for name, _ in prepared.views if name in own],
        "remote": [
            {"name": relation.name, "uri": workspace.tables.uri(relation.name), "version": relation.version}
            for relation in prepared.relations
            if relation.dataset is not None
        ],
        "allowed": prepared.allowed,
        "sql": sql,
        "memory_mb": limits.memory_mb,
        "threads": limits.threads,
        "rows": limits.rows,
    }


def _run_child(workspace: Workspace, job: Mapping[str, Any], answer: Any) -> dict[str, Any]:
    """Run the job with its rows going to the file `answer`; returns what the child said at its end."""
    seconds = workspace.config.sql.seconds
    child = [sys.executable, "-P", "-m", "flywheel.workspace.query_child"]
    try:
        done = subprocess.run(
            child,
            input=json.dumps(job).encode(),
            stdout=answer,
            stderr=subprocess.PIPE,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise QueryFailed(f"the query ran past {seconds:g} s and was ended ([sql] seconds)") from error
    lines = done.stderr.decode(errors="replace").strip().splitlines()
    try:
        told: dict[str, Any] = json.loads(lines[-1])
    except (IndexError, ValueError):  # it did not live to say anything
        told = {"said": f"the query process ended with code {done.returncode} (out of memory?)", "left_out": []}
    if done.returncode == 0:
        return told
    said = "; left out ".join([told["said"], *(line(name, why) for name, why in told["left_out"])])
    raise QueryRefused(said) if done.returncode == _REFUSED else QueryFailed(said)


def _cut(workspace: Workspace, told: Mapping[str, Any]) -> str | None:
    limits = workspace.config.sql
    why = {"rows": "[sql] rows", "bytes": f"{limits.memory_mb} MB, [sql] memory_mb"}
    return f"cut after {told['rows']} rows ({why[told['cut']]} in flywheel.toml)" if told["cut"] else None


def about_everything(sql: str) -> bool:
    """Whether a query asks about the tables and views themselves, so that all of them must be there."""
    return re.search(r"\b(show|describe|information_schema|duckdb_\w+)\b", sql, re.IGNORECASE) is not None


def versions_at(workspace: Workspace, when: str) -> dict[str, int]:
    """Table versions as a run left them, or as the last run that ended before a time did.

    `when` is a run id or an ISO time. Raises UsageError when neither is known.
    """
    text = when.replace("'", "''")
    found = workspace.query(
        "SELECT tables_out_json FROM run_events WHERE tables_out_json IS NOT NULL "
        f"AND (run_id = '{text}' OR (try_cast('{text}' AS TIMESTAMPTZ) IS NOT NULL "
        f"""AND "at"::TIMESTAMPTZ <= try_cast('{text}' AS TIMESTAMPTZ))) """
        """ORDER BY "at"::TIMESTAMPTZ DESC, run_id DESC, seq DESC LIMIT 1"""
    )
    if not found.num_rows:
        raise UsageError(f"no finished run {when!r}, nor one before such a time; see `flywheel runs list`")
    return {name: int(version) for name, version in json.loads(found["tables_out_json"][0].as_py()).items()}


def policy_text_at(workspace: Workspace, versions: Mapping[str, int]) -> str | None:
    """The policy that was active when the tables were at these versions, as it was written; None before the first.

    Raises QueryFailed where that is too long ago.
    """
    question = "SELECT text FROM active_policy"
    prepared = plan(workspace.tables, question, {}, versions)
    _require_files(prepared)
    texts: list[str] = run(prepared, question)["text"].to_pylist()
    return texts[0] if texts else None


def _require_files(prepared: Plan) -> None:
    """Raises QueryFailed when a version that is asked for has lost files to vacuum or to forgetting."""
    from flywheel.workspace.maintain import RETENTION_HOURS

    for relation in prepared.relations:
        if _is_gone(relation):
            raise QueryFailed(
                f"table {relation.name} of that time is gone: it is older than the retention of {RETENTION_HOURS} hours, "
                "or part of it was forgotten; ask for a later time"
            )


def _is_gone(relation: Relation) -> bool:
    if relation.dataset is None:
        return not all(os.path.exists(file) for file in relation.files)
    places = relation.dataset.filesystem.get_file_info(relation.dataset.files)
    return any(place.type.name == "NotFound" for place in places)
