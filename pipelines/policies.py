"""Policies as state: which texts are known, and the fold of who activated what."""

from __future__ import annotations

import getpass
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa

from filters.policy import PROFILES, Policy, bundled_text, parse
from flywheel.errors import PolicyError, UsageError
from flywheel.schemas import TABLES
from flywheel.workspace import Workspace
from flywheel.workspace.tables import FencedTable

_FENCE = "policy"
ROLLED_BACK = "rolled back"
# Our choice: fewer digits of a policy_id may mean anything, none at all every policy.
_ID_START = 4
_NAME_CHARS = 60


def active_policy(workspace: Workspace) -> Policy:
    """The policy that judges now: the last activation.

    Raises PolicyError when none was ever activated.
    """
    rows = workspace.query("SELECT text FROM active_policy")["text"].to_pylist()
    if not rows:
        raise PolicyError("no policy is active; run `flywheel policy activate NAME|FILE`")
    return parse(rows[0], stored=True)


def load(workspace: Workspace, name: str) -> tuple[Policy, str]:
    """A policy and its text by file, stored name, policy_id (or the start of one), or bundled profile name.

    Raises UsageError when nothing answers to the name or several policies do, PolicyError for a file that cannot be
    read and a text that does not hold together.
    """
    if name.endswith(".toml") or _is_file(name):
        if not _is_file(name):
            raise UsageError(f"no policy file {_short(name)}")
        text = _text_of(name)
        return parse(text), text
    stored = _stored(workspace, name)
    if stored is not None:
        return parse(stored, stored=True), stored
    if name in PROFILES:
        return parse(bundled_text(name)), bundled_text(name)
    raise UsageError(
        f"no policy {_short(name)!r}: give a .toml file, a name or policy_id from `flywheel policy list` "
        f"({_ID_START} of its digits do), or {', '.join(PROFILES)}"
    )


def _is_file(name: str) -> bool:
    try:
        return Path(name).is_file()
    except OSError:  # too long for a file system, or behind a folder that is closed to us
        return False


def _text_of(name: str) -> str:
    try:
        return Path(name).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise PolicyError(f"policy file {name} is not UTF-8 text (byte {error.start}): save it as UTF-8") from error
    except OSError as error:
        raise PolicyError(f"cannot read policy file {name}: {error.strerror}") from error


def _stored(workspace: Workspace, name: str) -> str | None:
    """The text of the policy that was activated last under a name, or whose id starts with it."""
    past = list(reversed(history(workspace)))
    named = [row for row in past if row["name"] == name]
    starting = [row for row in past if len(name) >= _ID_START and str(row["policy_id"]).startswith(name.lower())]
    if not named and len({row["policy_id"] for row in starting}) > 1:
        raise UsageError(f"{name} is the start of several policy ids; give more of it, see `flywheel policy list`")
    return next((str(row["text"]) for row in [*named, *starting]), None)


def _short(name: str) -> str:
    return name if len(name) <= _NAME_CHARS else name[: _NAME_CHARS - 1] + "…"


def history(workspace: Workspace) -> list[dict[str, object]]:
    """Every activation, oldest first, with the policy's name and text."""
    rows: list[dict[str, object]] = workspace.query(
        'SELECT e.seq, e.policy_id, e.event, e.actor, e."at", p.name, p.text '
        "FROM policy_events e JOIN policies p USING (policy_id) ORDER BY e.seq"
    ).to_pylist()
    return rows


def activate(workspace: Workspace, text: str, *, event: str = "activated", stored: bool = False) -> Policy:
    """Make a policy the active one. The text is stored once, the event appended compare-and-set on seq.

    Raises AnotherDriver when somebody activated another policy at the same moment.
    """
    policy = parse(text, stored=stored)
    events = FencedTable(workspace.tables, "policy_events", _FENCE, _FENCE)
    past = history(workspace)
    known = workspace.query(f"SELECT count(*) AS n FROM policies WHERE policy_id = '{policy.policy_id}'")
    if not known["n"][0].as_py():
        row = {"policy_id": policy.policy_id, "name": policy.name, "text": text}
        workspace.tables.append(
            "policies", pa.Table.from_pylist([row], schema=TABLES["policies"].schema), run_id=_FENCE
        )
    happened = {
        "seq": len(past),
        "policy_id": policy.policy_id,
        "event": event,
        "actor": getpass.getuser(),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    events.append(pa.Table.from_pylist([happened], schema=TABLES["policy_events"].schema))
    return policy


def previous(workspace: Workspace) -> str:
    """The text of the policy to go back to: the one that was active before the present one was activated.

    Raises UsageError when there was none.
    """
    path = _path(history(workspace))
    if len(path) < 2:
        raise UsageError("there is no earlier policy to go back to; see `flywheel policy list`")
    return str(path[-2]["text"])


def _path(events: Sequence[Mapping[str, object]]) -> list[Mapping[str, object]]:
    """How the present policy was reached, itself last: an activation goes a step on, a rollback some back.

    A rollback to a policy that is not on the path (earlier versions undid rollbacks like that) goes a step on.
    """
    path: list[Mapping[str, object]] = []
    for event in events:
        ids = [step["policy_id"] for step in path]
        if event["event"] == ROLLED_BACK and event["policy_id"] in ids:
            del path[len(ids) - ids[::-1].index(event["policy_id"]) :]
        elif ids[-1:] != [event["policy_id"]]:
            path.append(event)
    return path
