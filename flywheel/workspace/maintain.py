"""Upkeep: compaction, vacuum with pins, packs that nothing refers to."""

from __future__ import annotations

import json
from dataclasses import dataclass

from flywheel.workspace.workspace import Workspace

RETENTION_HOURS = 24  # design section 4: open readers keep what they opened


@dataclass(frozen=True, slots=True, kw_only=True)
class Upkeep:
    """What one `maintain` did to one table."""

    table: str
    files_before: int
    files_after: int
    vacuumed: int
    pinned_versions: tuple[int, ...]


def pins(workspace: Workspace) -> dict[str, set[int]]:
    """Table versions that a snapshot must be able to come back to, by table."""
    rows = workspace.query("SELECT detail_json FROM snapshot_events WHERE event = 'frozen'")
    pinned: dict[str, set[int]] = {}
    for text in rows["detail_json"].to_pylist():
        for name, version in json.loads(text or "{}").get("table_versions", {}).items():
            pinned.setdefault(name, set()).add(int(version))
    return pinned


def upkeep(workspace: Workspace, name: str, pinned: set[int], *, dry_run: bool) -> Upkeep:
    """Compact one table and vacuum what no reader of the last 24 hours and no pin can need."""
    before = len(workspace.tables.open(name).file_uris())
    if not dry_run:
        workspace.tables.compact(name)
    table = workspace.tables.open(name)
    keep = sorted(version for version in pinned if version <= table.version())
    gone = table.vacuum(retention_hours=RETENTION_HOURS, dry_run=dry_run, keep_versions=keep or None)
    return Upkeep(
        table=name,
        files_before=before,
        files_after=len(table.file_uris()),
        vacuumed=len(gone),
        pinned_versions=tuple(keep),
    )


def unreferenced_packs(workspace: Workspace) -> list[str]:
    """Packs written for a micro-batch that never completed, or emptied by forgetting (paths in the workspace)."""
    used = set(workspace.query("SELECT DISTINCT uri FROM images WHERE uri LIKE '%/packs/%'")["uri"].to_pylist())
    return [path for path in workspace.store.list("packs") if workspace.store.uri_of(path) not in used]
