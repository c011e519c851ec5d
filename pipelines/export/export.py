"""`flywheel export`: make a folder (or prefix) hold exactly one snapshot, in one format, and prove it.

A shard is written again only when its records changed or it is not there. So a killed export goes on where
it stopped, a second one finds nothing to do, and one of an amended snapshot loses what was taken out.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pyarrow as pa

from flywheel.errors import ContentChanged, DiskReserve, FlywheelError, UsageError
from flywheel.workspace import Workspace, runs
from flywheel.workspace.places import local_path
from flywheel.workspace.storage import Store
from pipelines.engine import Progress, conserve
from pipelines.export.imagefolder import ImageFolderWriter
from pipelines.export.journal import Entry, Journal
from pipelines.export.originals import Originals
from pipelines.export.parquet import ParquetWriter
from pipelines.export.records import Images, Record, load_images, rows_sha256
from pipelines.export.shards import Shard, plan
from pipelines.export.webdataset import WebDatasetWriter
from pipelines.export.writer import Writer

STEP = "export"
LAW = ("written", "present", "lost")
SHARD_BYTES = 256_000_000  # of originals; our choice, WebDataset's own habit is 100 MB to 1 GB


def _lance(store: Store, told: pa.Schema) -> Writer:
    from pipelines.export.lance import LanceWriter  # starts LanceDB, which the other formats need not wait for

    return LanceWriter(store, told)


FORMATS: Mapping[str, Callable[[Store, pa.Schema], Writer]] = {
    "webdataset": lambda store, told: WebDatasetWriter(store),
    "parquet": ParquetWriter,
    "lance": _lance,
    "imagefolder": lambda store, told: ImageFolderWriter(store),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportReport:
    """`run_id` is None when the destination held all of it already. Counts are images."""

    snapshot_id: str
    to: str
    format: str
    shards: int
    run_id: str | None
    counts: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class _Planned:
    shard: Shard
    rows_sha256: str
    is_present: bool

    @property
    def images(self) -> int:
        return self.shard.stop - self.shard.start


@dataclass(frozen=True, slots=True)
class _Job:
    workspace: Workspace
    snapshot_id: str
    format: str
    store: Store
    images: Images
    shards: list[_Planned]
    journal: Journal
    writer: Writer
    progress: Progress

    def records(self, shard: Shard) -> list[Record]:
        return self.images.records(shard.start, shard.stop)

    @property
    def stale(self) -> list[Entry]:
        """Shards of an earlier export of this snapshot that are no longer part of it."""
        names = {planned.shard.name for planned in self.shards}
        return [entry for name, entry in sorted(self.journal.known.items()) if name not in names]


def export(
    workspace: Workspace,
    snapshot_id: str,
    to: str,
    format_name: str,
    *,
    views: Mapping[str, str],
    progress: Progress,
    shard_bytes: int = SHARD_BYTES,
) -> ExportReport:
    """Export a snapshot; `views` hold `verdicts` and `scores`.

    Raises UsageError for an unknown snapshot or format and for a destination that holds something else;
    ContentChanged when originals vanished or changed (all other shards are written first, the manifest is
    not); DiskReserve; AnotherDriver; FlywheelError when the destination cannot be written.
    """
    forgotten = workspace.tables.open("tombstones").version()
    job = _prepare(workspace, snapshot_id, to, format_name, views, shard_bytes, progress)
    if job.journal.is_complete and all(planned.is_present for planned in job.shards) and not job.stale:
        job.journal.tidy()
        return _report(job, None, {"in": len(job.images), "written": 0, "present": len(job.images), "lost": 0})
    detail = {"to": job.store.root_uri, "format": format_name, "snapshot_id": snapshot_id}
    run = runs.start(workspace, STEP, snapshot_id, detail)
    if workspace.tables.open("tombstones").version() != forgotten:  # since it was prepared; not from here on
        with run.recorded({}):
            job = _prepare(workspace, snapshot_id, to, format_name, views, shard_bytes, progress)
    return _report(job, run.run_id, _recorded(job, run))


def _recorded(job: _Job, run: runs.Run) -> Counter[str]:
    """Write everything, and record how that ended."""
    counts: Counter[str] = Counter({"in": len(job.images), "written": 0, "present": 0, "lost": 0})
    try:
        _write_all(job, run, counts)
        conserve(STEP, counts, LAW)
    except DiskReserve:
        run.end("paused", counts)
        raise
    except KeyboardInterrupt:
        run.end("interrupted", counts)
        raise
    except FlywheelError as error:
        run.end("failed", counts, {"error": str(error)})
        raise
    except OSError as error:  # originals raise ContentChanged, so this is the destination
        run.end("failed", counts, {"error": str(error)})
        raise FlywheelError(f"cannot write to {job.store.root_uri}: {error}") from error
    run.end("finished", counts)
    return counts


def _prepare(
    workspace: Workspace,
    snapshot_id: str,
    to: str,
    format_name: str,
    views: Mapping[str, str],
    shard_bytes: int,
    progress: Progress,
) -> _Job:
    """Everything that is decided before anything is written."""
    if format_name not in FORMATS:
        raise UsageError(f"no format {format_name!r}; there are {', '.join(FORMATS)}")
    known = workspace.query("SELECT DISTINCT snapshot_id FROM snapshot_events")["snapshot_id"].to_pylist()
    if snapshot_id not in known:
        raise UsageError(f"no snapshot {snapshot_id!r}; see `flywheel snapshots`")
    store = Store(to)
    journal = Journal(store, snapshot_id, format_name)
    images = load_images(workspace, snapshot_id, views)
    writer = FORMATS[format_name](store, images.facts.schema)
    by_bucket = format_name == "webdataset"
    images = images.grouped() if by_bucket else images
    groups = images.groups() if by_bucket else [""] * len(images)
    planned = []
    for shard in plan(groups, images.sizes(), shard_bytes):
        rows = rows_sha256(images.records(shard.start, shard.stop))
        entry = journal.known.get(shard.name)
        is_present = entry is not None and entry.rows_sha256 == rows and writer.holds(entry)
        planned.append(_Planned(shard, rows, is_present))
    return _Job(workspace, snapshot_id, format_name, store, images, planned, journal, writer, progress)


def _write_all(job: _Job, run: runs.Run, counts: Counter[str]) -> None:
    job.journal.begin()
    done = 0

    def on_read() -> None:
        nonlocal done
        done += 1
        run.heartbeat()
        job.progress(STEP, min(done, len(job.images)), len(job.images), counts)

    originals = Originals(on_read)
    for planned in job.shards:
        if planned.is_present:
            counts["present"] += planned.images
        elif _write_shard(job, planned, originals):
            counts["written"] += planned.images
        else:
            counts["lost"] += planned.images
        done = counts["present"] + counts["written"] + counts["lost"]
        job.progress(STEP, done, len(job.images), counts)
    if originals.lost:
        raise ContentChanged(_told_of(originals.lost, len(job.images), job.store))
    for entry in job.stale:
        job.writer.remove(entry)
    files = job.writer.finish(
        frozenset(job.images.facts["image_id"].to_pylist()),
        ((planned.shard.name, record) for planned in job.shards for record in job.records(planned.shard)),
    )
    stage = job.images.facts["stage"][0].as_py()
    job.journal.finish([job.journal.known[p.shard.name] for p in job.shards], files, {"stage": stage})


def _write_shard(job: _Job, planned: _Planned, originals: Originals) -> bool:
    """False when an original of the shard is lost; then nothing of the shard was written."""
    records = job.records(planned.shard)
    _require_room(job, sum(int(record.told["bytes"]) for record in records))
    try:
        written = job.writer.write(planned.shard.name, records, originals.read)
    except ContentChanged:
        originals.count_lost(records)
        return False
    job.journal.add(
        Entry(
            shard=planned.shard.name,
            name=written.name,
            images=len(records),
            bytes=written.bytes,
            sha256=written.sha256,
            rows_sha256=planned.rows_sha256,
            image_ids=tuple(record.image_id for record in records),
        )
    )
    return True


def _require_room(job: _Job, size: int) -> None:
    """Raises DiskReserve when a shard would take the destination's disk below the workspace's reserve."""
    job.workspace.require_disk()
    if not job.store.is_local:
        return
    reserve = job.workspace.config.run.disk_reserve_mb << 20
    free = shutil.disk_usage(local_path(job.store.root_uri)).free
    if free - size < reserve:
        raise DiskReserve(
            f"only {free >> 20} MB free under {job.store.root_uri}, the next shard needs {size >> 20} MB and the "
            f"reserve is {reserve >> 20} MB; the export is paused: free space, then start it again"
        )


def _told_of(lost: list[Record], of: int, store: Store) -> str:
    return (
        f"{len(lost)} of {of} originals vanished or changed since ingest (the first: {lost[0].locator.uri}); their "
        f"shards are not in {store.root_uri} and it has no manifest: see `flywheel verify`, bring them back or forget "
        "them, then export again"
    )


def _report(job: _Job, run_id: str | None, counts: Mapping[str, int]) -> ExportReport:
    return ExportReport(
        snapshot_id=job.snapshot_id,
        to=job.store.root_uri,
        format=job.format,
        shards=len(job.shards),
        run_id=run_id,
        counts=dict(counts),
    )
