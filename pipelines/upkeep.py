"""Maintain: keep queries fast and the disk small, while readers read and flows write."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from flywheel.workspace import Workspace, catalog, runs
from flywheel.workspace.maintain import compact, pins, unreferenced_packs, vacuum
from pipelines import indexing
from pipelines.judging import judging_views

STEP = "maintain"
# Our choice: a running ingest writes a pack minutes before the rows that refer to it, never an hour.
GRACE_S = 3600.0


def maintain(workspace: Workspace, *, dry_run: bool, views: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Compact all tables, renew the catalogue where there is one, vacuum, drop packs that nothing
    refers to and what killed writers left aside, bring the search index up to the tables.

    The catalogue is renewed before the vacuum because it names files; `views` are its views (None: the
    judging ones). Returns `tables`, a dict a table, `packs`, the paths that went (would go, if `dry_run`),
    and `index`, what was done to the search index.
    Runs on a full disk, too. Raises AnotherDriver when somebody else maintains or takes rows away.
    """
    if dry_run:
        files = {name: len(workspace.tables.open(name).file_uris()) for name in workspace.tables.names()}
        return _sweep(workspace, files, dry_run=True)
    run = runs.start(workspace, STEP, frees_disk=True)
    with run.recorded({}):
        files = {}
        for name in workspace.tables.names():
            files[name] = compact(workspace, name)
            run.heartbeat()
        if workspace.is_local and (workspace.path / catalog.CATALOG).exists():
            catalog.build(workspace, judging_views(workspace) if views is None else views)
        done = _sweep(workspace, files, dry_run=False)
        workspace.store.sweep(GRACE_S)
    run.end("finished", {"tables": len(done["tables"]), "packs": len(done["packs"])})
    return {**done, "index": indexing.upkeep(workspace)}


def _sweep(workspace: Workspace, files: Mapping[str, int], *, dry_run: bool) -> dict[str, Any]:
    """Vacuum tables (`files`: how many each had before compaction) and remove packs."""
    pinned = pins(workspace)
    tables = [
        vacuum(workspace, name, pinned.get(name, set()), before, dry_run=dry_run) for name, before in files.items()
    ]
    packs = unreferenced_packs(workspace, pinned, GRACE_S)
    if not dry_run:
        for path in packs:
            workspace.store.delete(path)
    return {"tables": [asdict(table) for table in tables], "packs": packs}
