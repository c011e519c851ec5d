"""Maintain and status; readers that never notice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pyarrow as pa
import pytest

from flywheel.errors import AnotherDriver, DiskReserve
from flywheel.workspace import catalog, packs, runs
from pipelines import forget
from pipelines.judging import judging_views
from pipelines.status import summary
from pipelines.upkeep import maintain


def aged(path: str, hours: float) -> None:
    then = time.time() - hours * 3600
    os.utime(path, (then, then))


def test_compacts_and_keeps_rows(yard) -> None:  # type: ignore[no-untyped-def]
    yard.ingest(*[yard.original(f"{i}.png", b"%d" % i) for i in range(12)])
    told = {table["table"]: table for table in maintain(yard.workspace, dry_run=True)["tables"]}
    assert told["images"]["files_before"] == told["images"]["files_after"] == 12
    done = {table["table"]: table for table in maintain(yard.workspace, dry_run=False)["tables"]}
    assert (done["images"]["files_before"], done["images"]["files_after"], done["images"]["vacuumed"]) == (12, 1, 0)
    assert yard.count("images") == 12


def test_removes_old_packs_that_nothing_refers_to(yard) -> None:  # type: ignore[no-untyped-def]
    yard.ingest(yard.original("a.png", b"kept"), copy=True)
    pinned = yard.workspace.tables.versions()
    yard.ingest(yard.original("b.png", b"pinned"), copy=True)
    later = yard.workspace.tables.versions()
    for n, versions in enumerate((pinned, later)):
        detail = json.dumps({"table_versions": versions})
        yard.add("snapshot_events", {"snapshot_id": f"s{n}", "seq": 0, "event": "frozen", "detail_json": detail})
    image = yard.workspace.query("SELECT image_id FROM images WHERE bytes = 6")
    yard.workspace.tables.delete_keys("images", image, run_id="x")
    for name, data in (("1" * 64, b"old"), ("2" * 64, b"young")):
        packs.write_pack(yard.workspace.store, [(name, data, "png")])
    for stored in yard.workspace.store.list("packs"):
        path = yard.workspace.store.path_of(yard.workspace.store.relpath_of(stored.uri))
        if "2" * 64 not in packs.members(stored.uri):
            aged(path, 2)
    would = maintain(yard.workspace, dry_run=True)["packs"]
    assert len(list(yard.workspace.store.list("packs"))) == 4
    assert maintain(yard.workspace, dry_run=False)["packs"] == would
    assert len(would) == 1
    held = {name for stored in yard.workspace.store.list("packs") for name in packs.members(stored.uri)}
    assert held == {
        *yard.workspace.query("SELECT image_id FROM images")["image_id"].to_pylist(),
        *image["image_id"].to_pylist(),
        "2" * 64,
    }


def test_keeps_what_a_snapshot_pins(yard) -> None:  # type: ignore[no-untyped-def]
    yard.ingest(*[yard.original(f"{i}.png", b"%d" % i) for i in range(10)])
    version = yard.workspace.tables.versions()["images"]
    detail = json.dumps({"table_versions": {"images": version}})
    yard.add("snapshot_events", {"snapshot_id": "s", "seq": 0, "event": "frozen", "detail_json": detail})
    [told] = [table for table in maintain(yard.workspace, dry_run=False)["tables"] if table["table"] == "images"]
    assert told["pinned_versions"] == (version,)
    table = yard.workspace.tables.open("images")
    table.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False, keep_versions=[version])
    assert yard.workspace.tables.open("images", version).to_pyarrow_table().num_rows == 10


def test_two_do_not_maintain_at_once(yard) -> None:  # type: ignore[no-untyped-def]
    run = runs.start(yard.workspace, "maintain")
    with pytest.raises(AnotherDriver):
        maintain(yard.workspace, dry_run=False)
    run.end("finished", {})


def test_what_frees_the_disk_runs_on_a_full_one(yard) -> None:  # type: ignore[no-untyped-def]
    yard.ingest(yard.original("a.png", b"a"))
    [image] = yard.workspace.query("SELECT image_id FROM images")["image_id"].to_pylist()
    yard.workspace.store.write_new("flywheel.toml", b"[run]\ndisk_reserve_mb = 900000000\n")
    yard.workspace.__dict__.pop("config", None)
    with pytest.raises(DiskReserve):
        runs.start(yard.workspace, "ingest")
    assert maintain(yard.workspace, dry_run=False)["tables"]
    forget.forget(yard.workspace, [image], judging_views(yard.workspace), actor="me", why="")
    assert yard.count("images") == 0


def test_status_adds_up(yard) -> None:  # type: ignore[no-untyped-def]
    run = yard.ingest(yard.original("a.png", b"a"), yard.original("b.png", b"b"), copy=True)
    for number, (status, reason) in enumerate(
        (("rejected", "empty"), ("rejected", "empty"), ("quarantined", "unreadable"))
    ):
        row = {"step": "ingest", "subject_id": f"s{number}", "config_hash": "c", "attempt": 1}
        yard.add("outcomes", row | {"status": status, "reason": reason})
    yard.add("tombstones", {"image_id": "f" * 64})
    told = summary(yard.workspace)
    assert (told["images"], told["sources"], told["forgotten"], told["snapshots"]) == (2, 2, 1, 0)
    assert told["rejected"] == {"empty": 2}
    assert told["quarantined"] == {"unreadable": 1}
    assert told["last_runs"]["ingest"].startswith("finished ")
    assert told["active_policy"]
    assert told["disk_mb"]["tables"] > 0
    assert run


_READER = """
import sys, duckdb
from flywheel.workspace import Workspace
from flywheel.workspace.query import ask
workspace = Workspace.open(sys.argv[1])
seen = asked = rounds = 0
stop = workspace.path / "stop"
while not stop.exists():
    for _ in range(5):
        with duckdb.connect(str(workspace.path / "catalog.duckdb"), read_only=True) as connection:
            told = connection.sql("SELECT count(*), count(DISTINCT image_id) FROM images").fetchall()[0]
        assert told[0] == told[1] and told[0] >= seen, (told, seen)
        seen = told[0]
    rows = ask(workspace, "SELECT count(*) AS n FROM images", {}).rows
    assert rows["n"][0].as_py() >= max(asked, seen), (rows, asked, seen)
    asked = rows["n"][0].as_py()
    rounds += 1
print(rounds)
"""


@pytest.mark.slow
def test_readers_in_another_process_never_see_an_error(yard) -> None:  # type: ignore[no-untyped-def]
    workspace = yard.workspace
    views = judging_views(workspace)
    catalog.build(workspace, views)
    schema = yard.schema("images")
    command = [sys.executable, "-c", _READER, str(workspace.path)]
    reader = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for number in range(120):
        rows = [dict.fromkeys(schema.names) | {"image_id": f"{number:04d}{n:060d}"} for n in range(5)]
        workspace.tables.append("images", pa.Table.from_pylist(rows, schema=schema), run_id="hand")
        if number % 12 == 0:
            maintain(workspace, dry_run=False, views=views)
        elif number % 5 == 0:
            catalog.build(workspace, views)
        if reader.poll() is not None:
            break
    (workspace.path / "stop").touch()
    out, err = reader.communicate(timeout=60)
    assert reader.returncode == 0, err
    assert int(out) > 1


@pytest.mark.slow
def test_killed_maintenance_leaves_tables_whole(yard) -> None:  # type: ignore[no-untyped-def]
    yard.ingest(*[yard.original(f"{i}.png", b"%d" % i) for i in range(10)])
    before = {name: yard.count(name) for name in ("images", "sources", "outcomes", "score_tone")}
    code = (
        "import sys\nfrom pipelines.judging import open_workspace\nfrom pipelines.upkeep import maintain\n"
        "w = open_workspace(sys.argv[1])\nprint('go', flush=True)\nmaintain(w, dry_run=False)"
    )
    for wait_s in (0.05, 0.2, 0.4, 0.8):
        command = [sys.executable, "-c", code, str(yard.workspace.path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
            assert child.stdout is not None
            child.stdout.readline()
            time.sleep(wait_s)
            child.send_signal(signal.SIGKILL)
        assert {name: yard.count(name) for name in before} == before
    maintain(yard.workspace, dry_run=False)
    assert {name: yard.count(name) for name in before} == before
