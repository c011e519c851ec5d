"""What became of modes: how they were measured, what people and tracks decided. Appended, never changed; the fold is their state."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from flywheel.clock import now
from flywheel.schemas import TABLES
from flywheel.workspace import Workspace
from flywheel.workspace.tables import FencedTable

_FENCE = "modes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Of one mode. States are events of their name (open, dismissed, healed); others only tell (measured, noted, snoozed, routed)."""

    mode_id: str
    event: str
    detail: Mapping[str, Any] = field(default_factory=dict)

    @property
    def detail_json(self) -> str:
        return json.dumps(dict(self.detail), sort_keys=True, ensure_ascii=False)


def happened(workspace: Workspace, events: Sequence[Event], *, actor: str, run_id: str = "by hand") -> None:
    """Append, each behind what its mode has seen so far. Raises AnotherDriver where somebody else writes at this moment."""
    fenced = FencedTable(
        workspace.tables, "mode_events", _FENCE, run_id
    )  # before reading: what comes between is refused
    counts = workspace.query("SELECT mode_id, max(seq) + 1 AS next FROM mode_events GROUP BY mode_id").to_pydict()
    following = dict(zip(counts["mode_id"], counts["next"], strict=True))
    at, rows = now(), []
    for one in events:
        seq = following.get(one.mode_id, 0)
        following[one.mode_id] = seq + 1
        rows.append(
            {
                "mode_id": one.mode_id,
                "seq": seq,
                "event": one.event,
                "actor": actor,
                "at": at,
                "detail_json": one.detail_json,
            }
        )
    fenced.append(pa.Table.from_pylist(rows, schema=TABLES["mode_events"].schema))
