"""Policies as state: which texts are known, and the fold of who activated what."""

from __future__ import annotations

import getpass
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa

from filters.policy import PROFILES, Policy, bundled_text, parse
from flywheel.errors import PolicyError, UsageError
from flywheel.schemas import TABLES
from flywheel.workspace import Workspace
from flywheel.workspace.tables import FencedTable

_FENCE = "policy"


def active_policy(workspace: Workspace) -> Policy:
    """The policy that judges now: the last activation.

    Raises PolicyError when none was ever activated.
    """
    rows = workspace.query("SELECT text FROM active_policy")["text"].to_pylist()
    if not rows:
        raise PolicyError("no policy is active; run `flywheel policy activate NAME|FILE`")
    return parse(rows[0], stored=True)


def load(workspace: Workspace, name: str) -> tuple[Policy, str]:
    """A policy and its text by file, policy_id (or a prefix of it), stored name, or bundled profile name.

    Raises UsageError when nothing answers to the name, PolicyError when the text does not hold together.
    """
    path = Path(name)
    if path.suffix == ".toml" or path.is_file():
        if not path.is_file():
            raise UsageError(f"no policy file {name}")
        text = path.read_text(encoding="utf-8")
        return parse(text), text
    for row in reversed(history(workspace)):
        if str(row["policy_id"]).startswith(name) or row["name"] == name:
            stored = str(row["text"])
            return parse(stored, stored=True), stored
    if name in PROFILES:
        return parse(bundled_text(name)), bundled_text(name)
    raise UsageError(
        f"no policy {name!r}: give a .toml file, a policy_id from `flywheel policy list`, or {', '.join(PROFILES)}"
    )


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
    """The text of the policy that was active before the present one.

    Raises UsageError when there was none.
    """
    past = history(workspace)
    earlier = [row for row in past if row["policy_id"] != past[-1]["policy_id"]] if past else []
    if not earlier:
        raise UsageError("there is no earlier policy to go back to; see `flywheel policy list`")
    return str(earlier[-1]["text"])
