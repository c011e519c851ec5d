"""`catalog.duckdb`: views only, built elsewhere and swapped in, for people who bring their own DuckDB."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from pathlib import Path

import duckdb

from flywheel.workspace import contained
from flywheel.workspace.engine import Views, plan
from flywheel.workspace.own_views import line, own_views
from flywheel.workspace.workspace import Workspace

CATALOG = "catalog.duckdb"


def build(workspace: Workspace, views: Views) -> tuple[Path, list[str]]:
    """Write the catalogue over the newest version of each table.

    Returns its path and, a line each, the people's views that cannot be (they are left out: a broken view must
    not stop a run). Making a view reads what it names, so that here too only the tables are within reach.
    Raises UsageError on an object store.
    """
    target = workspace.path / CATALOG
    own = own_views(workspace, views)
    prepared = plan(workspace.tables, None, {**views, **own.sql})
    left_out = list(own.left_out.values())
    # Not beside its place: DuckDB takes a question mark in the path of a file it writes for the start of parameters.
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / CATALOG
        with duckdb.connect(str(made), config=dict(contained.OPTIONS)) as connection:
            contained.contain(connection, prepared.allowed)
            for statement in prepared.statements(but=own.sql):
                connection.execute(statement)
            for name, _ in prepared.views:
                why = contained.create_view(connection, name, own.sql[name]) if name in own.sql else None
                if why:
                    left_out.append(line(name, why))
        _swap(made, target)
    return target, left_out


def _swap(made: Path, target: Path) -> None:
    aside = target.with_name(f".{target.name}.{secrets.token_hex(16)}.aside")
    try:
        shutil.copyfile(made, aside)
        os.replace(aside, target)
    finally:
        aside.unlink(missing_ok=True)
