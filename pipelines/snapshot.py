"""Freezing a stage: what survives it becomes a snapshot that training and exports refer to by its content."""

from __future__ import annotations

import getpass
import hashlib
import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from filters.rules import RULES, STAGES
from flywheel.clock import now
from flywheel.errors import FlywheelError, UsageError
from flywheel.schemas import TABLES
from flywheel.workspace import Workspace, runs
from flywheel.workspace.tables import FencedTable
from pipelines.engine import conserve

STEP = "snapshot"
LAW = ("kept", "allowed", "dropped")
_ID_DIGITS = 16
_SNAPSHOTS = TABLES["snapshots"].schema
_EVENTS = TABLES["snapshot_events"].schema


@dataclass(frozen=True, slots=True, kw_only=True)
class FreezeReport:
    """`run_id` is None when a snapshot of this very content was there already."""

    snapshot_id: str
    stage: int
    images: int
    run_id: str | None
    counts: Mapping[str, int]


def freeze(
    workspace: Workspace,
    stage: int,
    *,
    views: Mapping[str, str],
    policy_id: str,
    allow_unjudged: Collection[str] = (),
) -> FreezeReport:
    """Freeze what survives a stage. Freezing the same content again adds nothing.

    `views` are those of the policy that judges, `verdicts` among them, under the same `allow_unjudged`: an image that
    is unjudged only by those rules comes along. Raises UsageError for an unknown stage or rule, and FlywheelError,
    with the words that would allow it, when images are unjudged by other rules or nothing survives, or when
    images came or went meanwhile.
    """
    _check_words(stage, allow_unjudged)
    allowed = sorted(set(allow_unjudged))
    survivors = _survivors(workspace, stage, views, allowed)
    snapshot_id = content_of(stage, survivors.to_pylist())
    counts = _counts(workspace, stage, views, survivors.num_rows)
    if _is_frozen(workspace, snapshot_id):
        return FreezeReport(snapshot_id=snapshot_id, stage=stage, images=survivors.num_rows, run_id=None, counts=counts)
    run = runs.start(workspace, STEP, snapshot_id, {"snapshot_id": snapshot_id, "stage": stage})
    with run.recorded(counts):
        # Read again behind the start: nothing is forgotten from here on, but it may have been since.
        if content_of(stage, _survivors(workspace, stage, views, allowed).to_pylist()) != snapshot_id:
            raise FlywheelError("images came or went while the snapshot was taken; start it again")
        conserve(STEP, counts, LAW)
        _write(workspace, run, snapshot_id, survivors)
        _record(workspace, run, snapshot_id, {"policy_id": policy_id, "stage": stage, "allowed_unjudged": allowed})
    run.end("finished", counts)
    return FreezeReport(
        snapshot_id=snapshot_id, stage=stage, images=survivors.num_rows, run_id=run.run_id, counts=counts
    )


def list_snapshots(workspace: Workspace) -> list[dict[str, Any]]:
    """Every snapshot, newest first: its stage, policy, images now, and whether it was amended since."""
    rows = workspace.query(
        """SELECT snapshot_id, arg_min(detail_json, seq) AS detail, arg_min("at", seq) AS frozen_at,
                  arg_max(event, seq) AS state, any_value(coalesce(held.images, 0)) AS images
           FROM snapshot_events LEFT JOIN (
               SELECT snapshot_id, count(*) AS images FROM snapshots GROUP BY snapshot_id
           ) held USING (snapshot_id)
           GROUP BY snapshot_id ORDER BY frozen_at DESC, snapshot_id"""
    ).to_pylist()
    told = []
    for row in rows:
        detail = json.loads(row.pop("detail"))
        told.append(row | {name: detail.get(name) for name in ("stage", "policy_id", "allowed_unjudged")})
    return told


def content_of(stage: int, rows: Iterable[Mapping[str, Any]]) -> str:
    """The snapshot's id: a hash over the stage and, by image_id, where and with what each image is trained."""
    digest = hashlib.sha256(f"stage {stage}\n".encode())
    for row in sorted(rows, key=lambda row: str(row["image_id"])):
        told = [row[name] for name in ("image_id", "bucket", "resolution_px", "weight", "caption_id")]
        digest.update(json.dumps(told, separators=(",", ":")).encode() + b"\n")
    return digest.hexdigest()[:_ID_DIGITS]


def _check_words(stage: int, allow_unjudged: Collection[str]) -> None:
    if stage not in STAGES:
        raise UsageError(f"no stage {stage}; there are {STAGES[0]} to {STAGES[-1]}")
    if unknown := sorted(set(allow_unjudged) - RULES.keys()):
        raise UsageError(f"no rule {', '.join(unknown)} to allow; there are {', '.join(RULES)}")


def _survivors(workspace: Workspace, stage: int, views: Mapping[str, str], allowed: list[str]) -> pa.Table:
    rows = workspace.query(
        "SELECT image_id, stage, bucket, resolution_px, crop_loss, NULL::VARCHAR AS caption_id, 1e0 AS weight, "
        f"verdict, unjudged_rules FROM verdicts WHERE stage = {stage} AND verdict <> 'dropped' ORDER BY image_id",
        views,
    )
    _refuse_unjudged(stage, rows.select(["verdict", "unjudged_rules"]), allowed)
    if not rows.num_rows:
        raise FlywheelError(f"nothing survives stage {stage}; see `flywheel funnel`")
    return rows.drop_columns(["verdict", "unjudged_rules"]).cast(
        pa.schema([_SNAPSHOTS.field(name).with_nullable(True) for name in rows.column_names[:-2]])
    )


def _refuse_unjudged(stage: int, rows: pa.Table, allowed: list[str]) -> None:
    """Raises FlywheelError when an image is unjudged by a rule that was not allowed."""
    blamed: Counter[str] = Counter()
    refused = 0
    for row in rows.to_pylist():
        rules = row["unjudged_rules"] or []
        if row["verdict"] == "unjudged" and not set(rules) <= set(allowed):
            refused += 1
            blamed.update(rules)
    if refused:
        counts = ", ".join(f"{rule} {count}" for rule, count in blamed.most_common())
        words = ",".join(sorted({*blamed, *allowed}))
        raise FlywheelError(
            f"stage {stage} has {refused} unjudged images ({counts}): write the missing scores, "
            f"or take them as they are with --allow-unjudged {words}"
        )


def _counts(workspace: Workspace, stage: int, views: Mapping[str, str], frozen: int) -> dict[str, int]:
    rows = workspace.query(
        "SELECT CASE WHEN verdict = 'kept' AND len(unjudged_rules) > 0 THEN 'allowed' ELSE verdict END AS verdict, "
        f"count(*) AS images FROM verdicts WHERE stage = {stage} GROUP BY ALL",
        views,
    ).to_pylist()
    by = {row["verdict"]: row["images"] for row in rows}
    kept = by.get("kept", 0)
    return {"in": sum(by.values()), "kept": kept, "allowed": frozen - kept, "dropped": by.get("dropped", 0)}


def _is_frozen(workspace: Workspace, snapshot_id: str) -> bool:
    return bool(
        workspace.query(f"SELECT 1 AS one FROM snapshot_events WHERE snapshot_id = '{snapshot_id}' LIMIT 1").num_rows
    )


def _write(workspace: Workspace, run: runs.Run, snapshot_id: str, survivors: pa.Table) -> None:
    # Rows without their event are what a killed freeze left behind.
    keys = pa.table({"snapshot_id": [snapshot_id]})
    if workspace.query(f"SELECT 1 AS one FROM snapshots WHERE snapshot_id = '{snapshot_id}' LIMIT 1").num_rows:
        workspace.tables.delete_keys("snapshots", keys, run_id=run.run_id)
    named = survivors.append_column("snapshot_id", pa.array([snapshot_id] * survivors.num_rows, pa.string()))
    FencedTable(workspace.tables, "snapshots", STEP, run.run_id).append(named.select(_SNAPSHOTS.names).cast(_SNAPSHOTS))


def _record(workspace: Workspace, run: runs.Run, snapshot_id: str, detail: Mapping[str, Any]) -> None:
    """The event that makes the snapshot exist; the versions it names stay readable for as long as it does."""
    held = workspace.query(f"SELECT count(*) AS images FROM snapshots WHERE snapshot_id = '{snapshot_id}'")
    row = {
        "snapshot_id": snapshot_id,
        "seq": 0,
        "event": "frozen",
        "actor": getpass.getuser(),
        "at": now(),
        "detail_json": json.dumps(
            {**detail, "images": held["images"][0].as_py(), "table_versions": workspace.tables.versions()},
            sort_keys=True,
        ),
    }
    events = FencedTable(workspace.tables, "snapshot_events", STEP, run.run_id)
    events.append(pa.Table.from_pylist([row], schema=_EVENTS))
