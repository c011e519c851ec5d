"""Upkeep: compaction, vacuum with pins, packs that nothing refers to."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from flywheel.errors import FlywheelError
from flywheel.workspace import purge
from flywheel.workspace.storage import StoredObject
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


def compact(workspace: Workspace, name: str) -> int:
    """Compact one table; returns how many files it had."""
    before = len(workspace.tables.open(name).file_uris())
    workspace.tables.compact(name)
    return before


def vacuum(workspace: Workspace, name: str, pinned: set[int], files_before: int, *, dry_run: bool) -> Upkeep:
    """Vacuum of one table what no reader of the last 24 hours and no pin can need."""
    table = workspace.tables.open(name)
    keep = sorted(version for version in pinned if version <= table.version())
    there = {PurePosixPath(path).name for path in purge.data_files(workspace, name)}
    gone = table.vacuum(retention_hours=RETENTION_HOURS, dry_run=dry_run, keep_versions=keep or None)
    return Upkeep(
        table=name,
        files_before=files_before,
        files_after=len(table.file_uris()),
        # delta-rs names every removal that the log remembers, also those of files that went long ago.
        vacuumed=len(there & {PurePosixPath(path).name for path in gone}),
        pinned_versions=tuple(keep),
    )


def unreferenced_packs(workspace: Workspace, pinned: Mapping[str, set[int]], older_than_s: float) -> list[str]:
    """Packs (paths in the workspace) that no image or picture refers to, neither now nor in a pinned version.

    They were written for a micro-batch that never completed, or their images were retracted.
    """
    limit_ns = (time.time() - older_than_s) * 1e9
    old = [stored for stored in workspace.store.list("packs") if stored.mtime_ns < limit_ns]
    if not old:
        return []
    placed = " UNION ".join(f"SELECT uri FROM {name} WHERE contains(uri, '/packs/')" for name in purge.PLACED)
    used = set(workspace.query(placed)["uri"].to_pylist())
    for version in pinned.get("images", ()):
        used |= _places_at(workspace, version)
    return [_path(workspace, stored) for stored in old if stored.uri not in used]


def _places_at(workspace: Workspace, version: int) -> set[str]:
    """Where the images of an old version are; what was forgotten of that version is passed over."""
    try:
        files = workspace.tables.open("images", version).file_uris()
    except FlywheelError:
        return set()
    found: set[str] = set()
    there = {PurePosixPath(path).name: path for path in purge.data_files(workspace, "images")}
    for name in {PurePosixPath(file).name for file in files} & there.keys():
        found.update(purge.read_columns(workspace, there[name], ("uri",))["uri"].to_pylist())
    return found


def _path(workspace: Workspace, stored: StoredObject) -> str:
    return workspace.store.relpath_of(stored.uri)
