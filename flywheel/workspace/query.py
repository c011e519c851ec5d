"""SQL from people, contained: one SELECT, in a child process that can read the tables and nothing else."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from flywheel.errors import QueryFailed, QueryRefused, UsageError
from flywheel.workspace.engine import plan
from flywheel.workspace.workspace import Workspace

_REFUSED, _FAILED = 3, 4


@dataclass(frozen=True, slots=True)
class Answer:
    """The rows, and whether the row limit cut them."""

    rows: pa.Table
    truncated: bool


def ask(workspace: Workspace, sql: str, views: Mapping[str, str], versions: Mapping[str, int] | None = None) -> Answer:
    """Answer one SELECT over the tables (at `versions`, when given).

    Raises QueryRefused for anything but one SELECT within the tables, QueryFailed for what DuckDB
    could not answer within the workspace's limits.
    """
    named = None if about_everything(sql) else sql
    prepared = plan(workspace.tables, named, {**views, **people_views(workspace)}, versions)
    limits = workspace.config.sql
    job = {
        "setup": prepared.statements(),
        "remote": [
            {"name": relation.name, "uri": workspace.tables.uri(relation.name), "version": relation.version}
            for relation in prepared.relations
            if relation.dataset is not None
        ],
        "allowed": prepared.files,
        "sql": sql,
        "memory_mb": limits.memory_mb,
        "threads": limits.threads,
        "rows": limits.rows,
    }
    child = [sys.executable, "-P", "-m", "flywheel.workspace.query_child"]
    try:
        done = subprocess.run(
            child, input=json.dumps(job).encode(), capture_output=True, timeout=limits.seconds, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise QueryFailed(f"the query ran past {limits.seconds:g} s and was ended ([sql] seconds)") from error
    if done.returncode == 0:
        return _rows(done.stdout, limits.rows)
    said = done.stderr.decode(errors="replace").strip().splitlines()
    message = said[-1] if said else f"the query process ended with code {done.returncode} (out of memory?)"
    raise QueryRefused(message) if done.returncode == _REFUSED else QueryFailed(message)


def about_everything(sql: str) -> bool:
    """Whether a query asks about the tables and views themselves, so that all of them must be there."""
    return re.search(r"\b(show|describe|information_schema|duckdb_\w+)\b", sql, re.IGNORECASE) is not None


def people_views(workspace: Workspace) -> dict[str, str]:
    """`views/*.sql` of the workspace: the file's stem is the view's name.

    Raises UsageError for a name that is no identifier.
    """
    if not workspace.is_local:
        return {}
    found = {}
    for file in sorted((workspace.path / "views").glob("*.sql")):
        if not file.stem.isidentifier():
            raise UsageError(f"{file.name}: a view's name is its file's stem and must be an identifier")
        found[file.stem] = file.read_text(encoding="utf-8").strip().rstrip(";")
    return found


def versions_at(workspace: Workspace, when: str) -> dict[str, int]:
    """Table versions as a run left them, or as the last run before a time did.

    `when` is a run id or an ISO time. Raises UsageError when neither is known.
    """
    text = when.replace("'", "''")
    found = workspace.query(
        "SELECT table_versions FROM runs WHERE table_versions IS NOT NULL "
        f"AND (run_id = '{text}' OR (try_cast('{text}' AS TIMESTAMPTZ) IS NOT NULL "
        f"AND last_at::TIMESTAMPTZ <= try_cast('{text}' AS TIMESTAMPTZ))) ORDER BY last_at DESC, run_id DESC LIMIT 1"
    )
    if not found.num_rows:
        raise UsageError(f"no finished run {when!r}, nor one before such a time; see `flywheel runs list`")
    return {name: int(version) for name, version in json.loads(found["table_versions"][0].as_py()).items()}


def write(answer: pa.Table, path: Path) -> None:
    """Write an answer as Parquet."""
    import pyarrow.parquet as pq

    pq.write_table(answer, path)


def _rows(stream: bytes, limit: int) -> Answer:
    rows = pa.ipc.open_stream(stream).read_all()
    return Answer(rows.slice(0, limit), rows.num_rows > limit)
