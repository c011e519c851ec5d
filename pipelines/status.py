"""Status: what a workspace holds and what happened last, from one query and a listing of files."""

from __future__ import annotations

from typing import Any

from flywheel.workspace import Workspace

# One row a figure: `part` groups those that are shown together.
_FIGURES = """
SELECT 'images' AS part, NULL AS name, count(*)::VARCHAR AS value FROM images
UNION ALL SELECT 'sources', NULL, count(*)::VARCHAR FROM sources
UNION ALL SELECT status, reason, count(*)::VARCHAR FROM last_outcomes
          WHERE status IN ('rejected', 'quarantined') GROUP BY status, reason
UNION ALL SELECT 'duplicate_groups', NULL, count(DISTINCT representative_id)::VARCHAR FROM duplicate_groups
UNION ALL SELECT 'snapshots', NULL, count(DISTINCT snapshot_id)::VARCHAR FROM snapshots
UNION ALL SELECT 'forgotten', NULL, count(DISTINCT image_id)::VARCHAR FROM tombstones
UNION ALL SELECT 'active_policy', NULL, any_value(name || ' ' || policy_id) FROM active_policy
UNION ALL SELECT 'last_runs', step, arg_max(status || ' ' || last_at, started_at || run_id) FROM runs GROUP BY step
ORDER BY 1, 2
"""
_ORDER = (
    "images",
    "sources",
    "rejected",
    "quarantined",
    "duplicate_groups",
    "snapshots",
    "forgotten",
    "active_policy",
    "last_runs",
)
_GROUPED = frozenset({"rejected", "quarantined", "last_runs"})


def summary(workspace: Workspace) -> dict[str, Any]:
    """Figures of a workspace; grouped ones (rejects by reason, last run by step, disk) are dicts."""
    told: dict[str, Any] = {"workspace": workspace.uri, "profile": workspace.config.workspace.profile}
    told |= {part: {} if part in _GROUPED else None for part in _ORDER}
    for row in workspace.query(_FIGURES).to_pylist():
        value = row["value"]
        value = int(value) if value is not None and row["part"] not in ("active_policy", "last_runs") else value
        if row["part"] in _GROUPED:
            told[row["part"]][row["name"]] = value
        else:
            told[row["part"]] = value
    told["disk_mb"] = {folder: _size_mb(workspace, folder) for folder in ("tables", "packs")}
    told["unfinished_forgetting"] = _unfinished(workspace)
    return told


def _size_mb(workspace: Workspace, folder: str) -> float:
    return round(sum(stored.size for stored in workspace.store.list(folder)) / 1e6, 1)


def _unfinished(workspace: Workspace) -> int:
    """Forgettings that were killed: `flywheel forget` completes them."""
    return sum(stored.uri.endswith(".pending.json") for stored in workspace.store.list("receipts"))
