"""Forgetting: an image leaves the tables, their history, the packs and all that was drawn from it, for good.

The tombstone comes first, so that nothing brings the image back meanwhile. A job file says what is being
forgotten until the receipt replaces it. Every phase finds what is left to do and notes it in the job
before it destroys it; a killed forget is completed by the next one, and its receipt still tells all.
Job and receipt hold ids, file names of our own and counts, never a caption or a place.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from flywheel.clock import now
from flywheel.errors import FlywheelError
from flywheel.schemas import TABLES
from flywheel.workspace import Workspace, catalog, derived, purge, runs
from pipelines.copies import exports_of, outside_reports_of, reports_about, thumbnails_of
from pipelines.duplicates import regroup

STEP = "forget"
_PENDING = ".pending.json"


@dataclass(slots=True, kw_only=True)
class Job:
    """One forgetting under way. The lists grow as phases find what has to go."""

    receipt_id: str
    started_at: str
    actor: str
    why: str
    image_ids: list[str]
    related_ids: list[str]
    originals: int
    rows: dict[str, int]
    snapshots: list[str]
    files: list[str] = field(default_factory=list)
    packs: list[str] = field(default_factory=list)
    thumbnails: list[str] = field(default_factory=list)
    reports: list[str] = field(default_factory=list)

    @property
    def all_ids(self) -> list[str]:
        return [*self.image_ids, *self.related_ids]


def preview(workspace: Workspace, image_ids: Collection[str]) -> dict[str, Any]:
    """What forgetting would do, with the places of the originals, which stay with their owner. Changes nothing."""
    job = _new_job(workspace, image_ids, "", "")
    exports, reports = exports_of(workspace, image_ids), outside_reports_of(workspace, image_ids)
    return {
        "images": job.image_ids,
        "rows": job.rows,
        "packs": purge.packs_about(workspace, image_ids),
        "thumbnails": len(thumbnails_of(workspace, image_ids)),
        "reports": reports_about(workspace, image_ids),
        "snapshots_amended": job.snapshots,
        "originals": _originals(workspace, image_ids),
        "exports": exports.holding,
        "exports_unknown": exports.unknown,
        "outside_reports": reports.holding,
        "outside_reports_unknown": reports.unknown,
        "unfinished": [job.receipt_id for job in pending(workspace)],
    }


def pending(workspace: Workspace) -> list[Job]:
    """Forgettings that were killed before their receipt."""
    paths = [workspace.store.relpath_of(stored.uri) for stored in workspace.store.list("receipts")]
    return [Job(**json.loads(workspace.store.read(path))) for path in paths if path.endswith(_PENDING)]


def forget(
    workspace: Workspace, image_ids: Collection[str], views: Mapping[str, str], *, actor: str, why: str
) -> list[dict[str, Any]]:
    """Complete what an earlier forget left, then forget `image_ids` (none: only complete). Returns the receipts.

    `views` are those of the catalogue, which is rebuilt where there is one.
    Raises AnotherDriver while any step is driven, FlywheelError when the images were written again meanwhile.
    """
    run = runs.start(workspace, STEP, frees_disk=True)
    receipts: list[dict[str, Any]] = []
    with run.recorded({}):
        runs.require_idle(workspace, but=STEP)
        for job in pending(workspace):
            receipts.append(_complete(workspace, job, views, run.run_id))
        if image_ids:
            job = _new_job(workspace, image_ids, actor, why)
            _save(workspace, job)
            receipts.append(_complete(workspace, job, views, run.run_id))
    forgotten = sum(len(receipt["images"]) for receipt in receipts)
    run.end("finished", {"forgotten": forgotten}, {"receipts": [receipt["receipt_id"] for receipt in receipts]})
    return receipts


def _new_job(workspace: Workspace, image_ids: Collection[str], actor: str, why: str) -> Job:
    related = purge.belongings(workspace, image_ids)
    held = workspace.query(
        "SELECT DISTINCT snapshot_id FROM snapshots JOIN wanted USING (image_id) ORDER BY 1", wanted=_ids(image_ids)
    )
    return Job(
        receipt_id=f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(3)}",
        started_at=now(),
        actor=actor,
        why=why,
        image_ids=sorted(image_ids),
        related_ids=sorted(related),
        originals=len(_originals(workspace, image_ids)),
        rows=purge.rows_about(workspace, {*image_ids, *related}),
        snapshots=held["snapshot_id"].to_pylist(),
    )


def _complete(workspace: Workspace, job: Job, views: Mapping[str, str], run_id: str) -> dict[str, Any]:
    """All phases in order; each is idempotent."""
    _bury(workspace, job, run_id)
    purge.delete_rows(workspace, job.all_ids, run_id=run_id)
    if "duplicate_groups" in job.rows:  # whoever matched a forgotten representative finds another
        regroup(workspace, run_id)
    _amend_snapshots(workspace, job, run_id)
    if workspace.is_local and (workspace.path / catalog.CATALOG).exists():
        catalog.build(workspace, views)  # before its files go
    _rewrite_packs(workspace, job, run_id)
    if left := purge.rows_about(workspace, job.all_ids):
        raise FlywheelError(
            f"rows came back into {', '.join(left)} while they were forgotten; start `flywheel forget` again"
        )
    _remove(workspace, job, job.files, purge.files_about(workspace, job.all_ids))
    _remove(workspace, job, job.thumbnails, thumbnails_of(workspace, job.image_ids))
    _remove(workspace, job, job.reports, reports_about(workspace, job.image_ids))
    for path in derived.files(workspace):  # made again from what is left when it is next asked for
        workspace.store.delete(path)
    workspace.store.sweep(0)  # what killed writers left aside may hold the bytes
    receipt = _receipt(workspace, job)
    document = json.dumps(receipt, indent=1, sort_keys=True, ensure_ascii=False)
    workspace.store.write_new(f"receipts/{job.receipt_id}.json", document.encode())
    workspace.store.delete(f"receipts/{job.receipt_id}{_PENDING}")
    return receipt


def _bury(workspace: Workspace, job: Job, run_id: str) -> None:
    known = workspace.query("SELECT image_id FROM tombstones JOIN wanted USING (image_id)", wanted=_ids(job.image_ids))
    new = sorted(set(job.image_ids) - set(known["image_id"].to_pylist()))
    common = {"why": job.why, "actor": job.actor, "at": job.started_at, "receipt_id": job.receipt_id}
    rows = [{"image_id": image_id, **common} for image_id in new]
    workspace.tables.append("tombstones", pa.Table.from_pylist(rows, TABLES["tombstones"].schema), run_id=run_id)


def _amend_snapshots(workspace: Workspace, job: Job, run_id: str) -> None:
    """Say in the events of each snapshot that it is smaller than it was frozen, once a receipt."""
    detail = json.dumps({"receipt_id": job.receipt_id})
    events = workspace.query(
        "SELECT snapshot_id, max(seq) AS seq, bool_or(event = 'amended' AND detail_json = detail) AS done "
        "FROM snapshot_events, mine GROUP BY 1",
        mine=pa.table({"detail": [detail]}),
    ).to_pylist()
    last = {row["snapshot_id"]: row for row in events}
    rows = [
        {"snapshot_id": name, "seq": last[name]["seq"] + 1 if name in last else 0, "event": "amended"}
        | {"actor": job.actor, "at": now(), "detail_json": detail}
        for name in job.snapshots
        if name not in last or not last[name]["done"]
    ]
    table = pa.Table.from_pylist(rows, TABLES["snapshot_events"].schema)
    workspace.tables.append("snapshot_events", table, run_id=run_id)


def _rewrite_packs(workspace: Workspace, job: Job, run_id: str) -> None:
    def rewrite(path: str) -> None:
        purge.rewrite_pack(workspace, path, job.image_ids, run_id=run_id)

    _remove(workspace, job, job.packs, purge.packs_about(workspace, job.image_ids), rewrite)


def _remove(
    workspace: Workspace,
    job: Job,
    noted: list[str],
    found: Sequence[str],
    how: Callable[[str], None] | None = None,
) -> None:
    """Note in the job, then remove: a kill in between loses neither the work nor the account of it."""
    if not found:
        return
    noted[:] = sorted({*noted, *found})
    _save(workspace, job)
    for path in found:
        (how or workspace.store.delete)(path)


def _receipt(workspace: Workspace, job: Job) -> dict[str, Any]:
    exports, reports = exports_of(workspace, job.image_ids), outside_reports_of(workspace, job.image_ids)
    return {
        "receipt_id": job.receipt_id,
        "started_at": job.started_at,
        "finished_at": now(),
        "actor": job.actor,
        "why": job.why,
        "images": job.image_ids,
        "removed": {
            "rows": job.rows,
            "files": purge.file_counts(job.files),
            "packs": len(job.packs),
            "thumbnails": len(job.thumbnails),
            "reports": [path for path in job.reports if path.endswith(".html")],
        },
        "snapshots_amended": job.snapshots,
        "remains": {
            "originals_with_their_owner": job.originals,
            "exports": exports.holding,
            "exports_unknown": exports.unknown,
            "outside_reports": reports.holding,
            "outside_reports_unknown": reports.unknown,
        },
    }


def _originals(workspace: Workspace, image_ids: Collection[str]) -> list[str]:
    rows = workspace.query(
        "SELECT DISTINCT uri FROM sources JOIN wanted USING (image_id) ORDER BY 1", wanted=_ids(image_ids)
    )
    return [str(uri) for uri in rows["uri"].to_pylist()]


def _save(workspace: Workspace, job: Job) -> None:
    workspace.store.write_new(f"receipts/{job.receipt_id}{_PENDING}", json.dumps(asdict(job)).encode())


def _ids(image_ids: Collection[str]) -> pa.Table:
    return pa.table({"image_id": pa.array(sorted(image_ids), pa.string())})
