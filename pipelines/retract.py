"""Retract: take back the rows that a run added.

Every commit names its run; the files that the run's appends added live until they are vacuumed, whatever
compaction did since. Their keys are deleted from the newest version, outcomes last: a killed retract is
simply started again, and until it ends nobody ingests the same things twice.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from flywheel.clock import now
from flywheel.errors import FlywheelError, UsageError
from flywheel.schemas import TABLES
from flywheel.workspace import Workspace, purge, runs
from flywheel.workspace.tables import arrow_schema, commit_files
from pipelines.duplicates import regroup
from pipelines.originals import elsewhere, is_copied, repoint, repointed, sightings_of

STEP = "retract"
# Events and tombstones are the record of what happened: they are never taken back.
_KEPT_TABLES = frozenset({"run_events", "tombstones", "policy_events"})
_FINAL = frozenset({"forget", "maintain", "report", "retract", "verify"})


@dataclass(frozen=True, slots=True)
class _Commit:
    """One append of one run to one table."""

    run_id: str
    paths: tuple[str, ...]


def retract(workspace: Workspace, run_id: str, *, dry_run: bool) -> dict[str, int]:
    """Delete what a run added, by table. Images that another run's source still shows stay and are read
    from there; duplicates of what goes find another representative. Afterwards the same sources can be ingested
    again.

    Raises UsageError for a run that is unknown, running, retracted already or has nothing to take back;
    FlywheelError when the run is older than the files that tell its rows; AnotherDriver.
    """
    found = _run(workspace, run_id)
    if dry_run:
        kept = _kept(workspace, added := _added(workspace, found))
        return {name: _present(workspace, name, keys).num_rows for name, keys in _going(added, kept).items()}
    run = runs.start(workspace, STEP, detail={"run_id": run_id})
    with run.recorded({}):
        runs.require_idle(workspace, but=STEP)
        removed = _take_back(workspace, found, run.run_id)
    run.end("finished", removed)
    return removed


def _run(workspace: Workspace, run_id: str) -> dict[str, Any]:
    rows = workspace.query(
        "SELECT run_id, step, status, table_versions_in, (SELECT max(seq) FROM run_events e "
        "WHERE e.run_id = runs.run_id) AS seq FROM runs JOIN wanted USING (run_id)",
        wanted=pa.table({"run_id": [run_id]}),
    ).to_pylist()
    if not rows:
        raise UsageError(f"no run {run_id!r}; see `flywheel runs list`")
    found: dict[str, Any] = rows[0]
    if found["status"] == "retracted":
        raise UsageError(f"run {run_id} is retracted already")
    if found["step"] in _FINAL:
        raise UsageError(f"run {run_id} is a {found['step']}: that cannot be taken back")
    return found


def _take_back(workspace: Workspace, found: Mapping[str, Any], run_id: str) -> dict[str, int]:
    added = _added(workspace, found)
    kept = _kept(workspace, added)
    repoint(workspace, list(kept.values()), run_id=run_id)
    going = _going(added, kept)
    removed = {}
    for name in sorted(going, key=lambda name: (name == "outcomes", name)):
        removed[name] = workspace.tables.delete_keys(name, _present(workspace, name, going[name]), run_id=run_id)
    regroup(workspace, run_id)
    row = dict.fromkeys(TABLES["run_events"].schema.names) | {
        "run_id": found["run_id"],
        "seq": found["seq"] + 1,
        "step": found["step"],
        "event": "retracted",
        "at": now(),
    }
    workspace.tables.append("run_events", pa.Table.from_pylist([row], TABLES["run_events"].schema), run_id=run_id)
    return removed


def _added(workspace: Workspace, found: Mapping[str, Any]) -> dict[str, pa.Table]:
    """The keys that the run added and no later run replaced, by table."""
    since = json.loads(found["table_versions_in"] or "{}")
    added = {}
    for name in workspace.tables.names():
        if name in _KEPT_TABLES:
            continue
        commits = list(_appends(workspace, name, since.get(name, -1) + 1))
        first = next((at for at, commit in enumerate(commits) if commit.run_id == found["run_id"]), None)
        if first is None:
            continue
        mine = [path for commit in commits if commit.run_id == found["run_id"] for path in commit.paths]
        keys = _keys(workspace, name, mine)
        others = [path for commit in commits[first:] if commit.run_id != found["run_id"] for path in commit.paths]
        later = _keys(workspace, name, others)
        added[name] = keys.join(later, keys.column_names, join_type="left anti")
    return _with_inherited(workspace, added)


def _with_inherited(workspace: Workspace, added: Mapping[str, pa.Table]) -> dict[str, pa.Table]:
    """With the images that the run's sources inherited from a run retracted before, and what is said of those."""
    told = dict(added)
    if "sources" not in added:
        return told
    fresh = added["images"] if "images" in added else pa.table({"image_id": pa.array([], pa.string())})
    heirs = workspace.query(
        "SELECT image_id FROM images SEMI JOIN mine USING (source_id) ANTI JOIN fresh USING (image_id)",
        mine=added["sources"],
        fresh=fresh,
    )
    if not heirs.num_rows:
        return told
    for name in workspace.tables.names():
        if name in ("images", "outcomes") or name.startswith("score_"):
            owner = "subject_id" if name == "outcomes" else "image_id"
            schema = arrow_schema(workspace.tables.open(name))
            columns = ", ".join(field.name for field in schema if not field.nullable)
            rows = workspace.query(
                f"SELECT {columns} FROM {name} WHERE {owner} IN (SELECT image_id FROM heirs)", heirs=heirs
            )
            told[name] = pa.concat_tables([told[name], rows], promote_options="permissive") if name in told else rows
    return told


def _appends(workspace: Workspace, name: str, since: int) -> Iterator[_Commit]:
    """Commits from a version on that added new rows; rewrites (merge, compaction) hold other runs' rows."""
    newest = workspace.tables.open(name).version()
    for version in range(since, newest + 1):
        path = f"tables/{name}/_delta_log/{version:020d}.json"
        try:
            info, paths = commit_files(workspace.store.read(path))
        except FileNotFoundError as error:
            raise _too_old(name) from error
        if info.get("operation") == "WRITE":
            yield _Commit(str(info.get("run_id")), tuple(f"tables/{name}/{path}" for path in paths))


def _keys(workspace: Workspace, name: str, paths: list[str]) -> pa.Table:
    schema = arrow_schema(workspace.tables.open(name))
    columns = [field.name for field in schema if not field.nullable]
    try:
        parts = [purge.read_columns(workspace, path, columns).select(columns) for path in paths]
    except FileNotFoundError as error:
        raise _too_old(name) from error
    empty = pa.schema([schema.field(column) for column in columns]).empty_table()
    return pa.concat_tables([empty, *parts], promote_options="permissive")


def _too_old(name: str) -> FlywheelError:
    return FlywheelError(
        f"what the run added to {name} cannot be told any more: it is older than the retention of 24 hours, "
        "or part of it was forgotten; use `flywheel forget`"
    )


def _kept(workspace: Workspace, added: Mapping[str, pa.Table]) -> dict[str, dict[str, object]]:
    """Images of the run that a source of another run shows too, with where they are read from then."""
    if "images" not in added:
        return {}
    mine = set(added["sources"]["source_id"].to_pylist()) if "sources" in added else set()
    ids = added["images"]["image_id"].to_pylist()
    held = workspace.query(
        'SELECT image_id, uri, member, "offset", length FROM images JOIN wanted USING (image_id)',
        wanted=pa.table({"image_id": pa.array(ids, pa.string())}),
    )
    sightings = sightings_of(workspace, ids)
    kept = {}
    for row in held.to_pylist():
        others = [seen for seen in sightings.get(row["image_id"], []) if seen.source_id not in mine]
        there = None if is_copied(workspace, row["uri"]) else elsewhere(row["image_id"], others)
        if there is not None:
            kept[row["image_id"]] = repointed(row["image_id"], there[0].source_id, there[1])
        elif others:  # a pack does not go with its source; a URL or a cell of a table cannot be read in place
            kept[row["image_id"]] = {**row, "source_id": others[0].source_id}
    return kept


def _going(added: Mapping[str, pa.Table], kept: Mapping[str, object]) -> dict[str, pa.Table]:
    """The keys to delete: without those of images that stay, so that their scores stay with them."""
    stay = pa.array(sorted(kept), pa.string())
    going = {}
    for name, keys in added.items():
        column = "subject_id" if name == "outcomes" else "image_id"
        of_images = name in ("images", "outcomes") or name.startswith("score_")
        going[name] = keys.filter(pc.invert(pc.is_in(keys[column], stay))) if of_images else keys
    return going


def _present(workspace: Workspace, name: str, keys: pa.Table) -> pa.Table:
    """Those of the keys that the table still has, once each."""
    columns = ", ".join(f'"{column}"' for column in keys.column_names)
    return workspace.query(f"SELECT DISTINCT {columns} FROM {name} SEMI JOIN wanted USING ({columns})", wanted=keys)
