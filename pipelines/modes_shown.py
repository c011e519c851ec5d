"""Modes as a person reads them: how each stands now, what it looks like, what became of it. Only reads."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from flywheel.errors import UsageError
from flywheel.workspace import Workspace

OVER = ("healed", "dismissed")
_ID_START = 4
_AS_STORED = ("mode_id", "name", "facet", "state", "cause", "track", "note", "snoozed_until", "found_at", "changed_at")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModeShown:
    """`failing` of `prompts` fail where the mode was measured last, `elsewhere` of all others.

    `before`: the share when the same checkpoint was measured before.
    `pictures` failed in all; `said_by`: whose word they rest on; `replayable` of them can be drawn again.
    """

    mode_id: str
    name: str
    facet: str
    parts: tuple[str, ...]
    state: str
    checkpoint: str
    failing: int
    prompts: int
    elsewhere: float
    p: float
    severity: float
    before: float | None
    pictures: int
    replayable: int
    said_by: tuple[str, ...]
    cause: str | None
    track: str | None
    note: str | None
    snoozed_until: str | None
    found_at: str
    changed_at: str

    @property
    def share(self) -> float:
        return self.failing / self.prompts if self.prompts else 0.0

    @property
    def size(self) -> float:
        """How much it costs: failing prompts, the worse the more."""
        return self.failing * self.severity


_MODES = """
SELECT s.*, b.before_json, f.pictures, f.replayable, f.said_by
FROM mode_states s
LEFT JOIN (SELECT mode_id, detail_json AS measured_json, lag(detail_json) OVER of_one AS before_json
           FROM mode_events WHERE event = 'measured'
           WINDOW of_one AS (PARTITION BY mode_id, json_extract_string(detail_json, '$.checkpoint') ORDER BY seq)
           QUALIFY row_number() OVER (PARTITION BY mode_id ORDER BY seq DESC) = 1) b USING (mode_id, measured_json)
LEFT JOIN (SELECT mode_id, count(*) AS pictures, count(*) FILTER (len(missing) = 0) AS replayable,
                  list_sort(list_distinct(array_agg(signal))) AS said_by
           FROM mode_members JOIN failures USING (failure_id) GROUP BY mode_id) f USING (mode_id)
"""
_CASES = """
SELECT f.* FROM failures f JOIN mode_members USING (failure_id) JOIN wanted USING (mode_id)
ORDER BY f.severity DESC, f.failure_id
"""
_EVENTS = 'SELECT seq, event, actor, "at", detail_json FROM mode_events JOIN wanted USING (mode_id) ORDER BY seq'


def modes_shown(
    workspace: Workspace, *, states: Sequence[str] = (), part: str = "", track: str = "", since: str = ""
) -> list[ModeShown]:
    """The costliest first; without `states` those that are neither over nor snoozed.

    `part`: what a concept must name; `since`: when something must have changed.
    """
    shown = [_shown(row) for row in workspace.query(_MODES).to_pylist()]
    wanted = [
        one
        for one in shown
        if (one.state in states if states else one.state not in OVER and one.failing and not _sleeps(one))
        and (not track or one.track == track)
        and (not part or part in one.parts or part == one.facet)
        and one.changed_at >= since
    ]
    return sorted(wanted, key=lambda one: (-one.size, one.p, one.name))


def _sleeps(one: ModeShown) -> bool:
    return one.snoozed_until is not None and one.snoozed_until > datetime.now(UTC).date().isoformat()


def mode_named(workspace: Workspace, name: str) -> ModeShown:
    """By its id, or how that begins. Raises UsageError where none or several answer."""
    shown = [_shown(row) for row in workspace.query(_MODES).to_pylist()]
    found = [one for one in shown if len(name) >= _ID_START and one.mode_id.startswith(name)]
    if len(found) != 1:
        raise UsageError(
            f"{len(found) or 'no'} modes begin with {name!r}: give {_ID_START} digits or more from `flywheel triage`"
        )
    return found[0]


def cases(workspace: Workspace, mode_id: str) -> list[dict[str, Any]]:
    """Its failures, worst first."""
    return _of(workspace, _CASES, mode_id)


def history(workspace: Workspace, mode_id: str) -> list[dict[str, Any]]:
    return [{**row, "detail": json.loads(row.pop("detail_json") or "{}")} for row in _of(workspace, _EVENTS, mode_id)]


def case_named(workspace: Workspace, name: str) -> dict[str, Any]:
    """A failure by its id, or how that begins, with all that was said of it and the modes that it belongs to.

    Raises UsageError where none or several answer.
    """
    found = workspace.query("SELECT * FROM failures ORDER BY failure_id").to_pylist()
    found = [row for row in found if len(name) >= _ID_START and row["failure_id"].startswith(name)]
    if len(found) != 1:
        raise UsageError(
            f"{len(found) or 'no'} failures begin with {name!r}: give {_ID_START} digits or more of its id"
        )
    modes = workspace.query(
        "SELECT mode_id, name, state FROM mode_members JOIN wanted USING (failure_id) JOIN mode_states USING (mode_id) "
        "ORDER BY mode_id",
        wanted=pa.table({"failure_id": [found[0]["failure_id"]]}),
    ).to_pylist()
    return {**found[0], "modes": modes}


def _of(workspace: Workspace, sql: str, mode_id: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = workspace.query(sql, wanted=pa.table({"mode_id": [mode_id]})).to_pylist()
    return found


def _shown(row: Mapping[str, Any]) -> ModeShown:
    measured = json.loads(row["measured_json"])
    before = json.loads(row["before_json"] or "{}")
    return ModeShown(
        **{name: row[name] for name in _AS_STORED},
        **{name: measured[name] for name in ("checkpoint", "failing", "prompts", "elsewhere", "p", "severity")},
        parts=tuple(row["parts"]),
        before=before["failing"] / before["prompts"] if before.get("prompts") else None,
        pictures=row["pictures"] or 0,
        replayable=row["replayable"] or 0,
        said_by=tuple(row["said_by"] or ()),
    )
