"""`catalog.duckdb`: views only, built aside and swapped, for people who bring their own DuckDB."""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping
from pathlib import Path

import duckdb

from flywheel.workspace.engine import plan
from flywheel.workspace.query import people_views
from flywheel.workspace.workspace import Workspace

CATALOG = "catalog.duckdb"


def build(workspace: Workspace, views: Mapping[str, str]) -> tuple[Path, list[str]]:
    """Write the catalogue over the newest version of each table.

    Returns its path and, a line each, the people's views that DuckDB refused (they are left out: a
    broken view must not stop a run). Raises UsageError on an object store.
    """
    target = workspace.path / CATALOG
    aside = workspace.path / f".{CATALOG}.{uuid.uuid4().hex}"
    own = people_views(workspace)
    prepared = plan(workspace.tables, None, {**views, **own})
    refused = []
    try:
        with duckdb.connect(str(aside)) as connection:
            for statement in prepared.statements():
                try:
                    connection.execute(statement)
                except duckdb.Error as error:
                    name = statement.split()[2]
                    if name not in own:
                        raise
                    refused.append(f"views/{name}.sql: {' '.join(str(error).split())}")
        os.replace(aside, target)
    finally:
        aside.unlink(missing_ok=True)
    return target, refused
