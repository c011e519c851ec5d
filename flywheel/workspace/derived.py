"""Answers worth keeping: a file in `derived/`, named by everything that it was derived from.

A file whose sources have moved on is simply not found again, so nothing has to be invalidated. Deleting the folder
costs seconds. Local workspaces alone: what lies in an object store is answered from its tables.
"""

from __future__ import annotations

import os
import secrets
import time
from pathlib import Path

import pyarrow.parquet as pq

from flywheel.seeds import stable_hash
from flywheel.workspace.engine import Views, connect, needed, open_plan, plan, quote
from flywheel.workspace.tables import Relation
from flywheel.workspace.workspace import Workspace

FOLDER = "derived"
# Our choice: a reader that has planned its query on an older file has opened it by then.
_KEEP_S = 600.0
_ROW_GROUP = 122_880  # DuckDB's own, one unit of work for one thread


def find(workspace: Workspace, name: str, sql: str, views: Views) -> Relation | None:
    """The kept answer to our own SQL over the tables as they are now, if there is one."""
    if not workspace.is_local:
        return None
    path = _path(workspace, name, sql, views)
    if not path.exists():
        return None
    return Relation(name, pq.read_schema(path), (str(path),), None, 0)


def keep(workspace: Workspace, name: str, sql: str, views: Views) -> None:
    """Answer our own SQL and keep the answer; what was kept of older sources goes after ten minutes."""
    if not workspace.is_local:
        return
    path = _path(workspace, name, sql, views)
    path.parent.mkdir(exist_ok=True)
    aside = path.with_name(f".{path.name}.{secrets.token_hex(6)}.aside")
    try:
        with connect() as connection:
            open_plan(connection, plan(workspace.tables, sql, views))
            connection.execute(f"COPY ({sql}) TO {quote(str(aside))} (FORMAT parquet, ROW_GROUP_SIZE {_ROW_GROUP})")
        if path == _path(workspace, name, sql, views):  # else the tables moved on under the query
            os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)
    _sweep(path)


def files(workspace: Workspace) -> list[str]:
    """Paths in the workspace of all that is kept, for who must remove what it holds."""
    return [workspace.store.relpath_of(stored.uri) for stored in workspace.store.list(FOLDER)]


def _path(workspace: Workspace, name: str, sql: str, views: Views) -> Path:
    tables, used = needed(workspace.tables, sql, views)
    basis = {
        "sql": sql,
        "views": {view: text for view in used if isinstance(text := views.get(view), str)},
        "tables": {table: workspace.tables.latest(table) for table in tables},
    }
    return workspace.path / FOLDER / f"{name}-{stable_hash(basis)}.parquet"


def _sweep(newest: Path) -> None:
    limit = time.time() - _KEEP_S
    for other in newest.parent.glob(f"{newest.name.rsplit('-', 1)[0]}-*.parquet"):
        if other != newest and other.stat().st_mtime < limit:
            other.unlink(missing_ok=True)
