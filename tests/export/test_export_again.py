"""Exporting onto something: the same export, another one, a changed one; and originals that changed."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pyarrow as pa
import pytest

from flywheel.errors import ContentChanged, DiskReserve, FlywheelError, UsageError
from flywheel.schemas import TABLES
from flywheel.workspace.storage import Store
from pipelines.export import FORMATS, export

FILE_FORMATS = ("webdataset", "parquet", "imagefolder")
SHARD_BYTES = 40_000


def run_export(
    world, folder: Path | str, format_name: str, shard_bytes: int = SHARD_BYTES, snapshot: str | None = None
):
    return export(
        world.workspace,
        snapshot or world.freeze(),
        str(folder),
        format_name,
        views=world.views,
        progress=lambda *_: None,
        shard_bytes=shard_bytes,
    )


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def amend(world, image_id: str) -> None:
    world.workspace.tables.delete_keys("snapshots", pa.table({"image_id": [image_id]}), run_id="forget")


@pytest.mark.parametrize("format_name", FORMATS)
def test_the_same_export_again_finds_nothing_to_do(world, tmp_path, format_name) -> None:
    first = run_export(world, tmp_path / "a", format_name)
    before = files_of(tmp_path / "a")
    again = run_export(world, tmp_path / "a", format_name)
    assert first.run_id is not None
    assert again.run_id is None
    assert again.counts == {"in": 21, "written": 0, "present": 21, "lost": 0}
    assert files_of(tmp_path / "a") == before
    run = world.workspace.query(f"SELECT * FROM runs WHERE run_id = '{first.run_id}'").to_pylist()[0]
    assert json.loads(run["detail"]) == {
        "to": (tmp_path / "a").as_uri(),
        "format": format_name,
        "snapshot_id": first.snapshot_id,
    }
    assert json.loads(run["counts"]) == {"in": 21, "written": 21, "present": 0, "lost": 0}


@pytest.mark.parametrize("format_name", FILE_FORMATS)
def test_two_exports_are_equal_byte_for_byte(world, tmp_path, format_name) -> None:
    run_export(world, tmp_path / "a", format_name)
    run_export(world, tmp_path / "b", format_name)
    assert files_of(tmp_path / "a") == files_of(tmp_path / "b")


def test_another_export_there_is_refused(world, tmp_path) -> None:
    run_export(world, tmp_path / "a", "webdataset")
    before = files_of(tmp_path / "a")
    with pytest.raises(UsageError, match=r"as webdataset; give snapshot .* as parquet a folder of its own"):
        run_export(world, tmp_path / "a", "parquet")
    with pytest.raises(UsageError, match="a folder of its own"):
        run_export(world, tmp_path / "a", "webdataset", snapshot=world.freeze(2))
    assert files_of(tmp_path / "a") == before


@pytest.mark.parametrize("name", ["letter.txt", "manifest.json"])
def test_a_folder_with_other_things_is_refused(world, tmp_path, name) -> None:
    (tmp_path / name).write_text('{"mine": true}')
    with pytest.raises(UsageError, match="not empty and holds no export"):
        run_export(world, tmp_path, "imagefolder")
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_wrong_words(world, tmp_path) -> None:
    with pytest.raises(UsageError, match="no snapshot 'x'"):
        run_export(world, tmp_path / "a", "webdataset", snapshot="x")
    with pytest.raises(UsageError, match="no format 'zip'"):
        run_export(world, tmp_path / "a", "zip")
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(FlywheelError, match="cannot write to"):
        run_export(world, tmp_path / "file" / "below", "webdataset")


@pytest.mark.parametrize("format_name", FORMATS)
def test_a_lost_shard_is_written_again(world, tmp_path, format_name) -> None:
    run_export(world, tmp_path / "a", format_name)
    before = files_of(tmp_path / "a")
    shard = json.loads(before["manifest.json"])["shards"][1]
    if format_name == "lance":
        import lancedb

        table = lancedb.connect(str(tmp_path / "a")).open_table("images")
        table.delete(f"image_id = '{shard['image_ids'][0]}'")
    else:
        victim = tmp_path / "a" / shard["name"]
        os.unlink(next(victim.iterdir()) if victim.is_dir() else victim)
    counts = run_export(world, tmp_path / "a", format_name).counts
    assert counts == {"in": 21, "written": shard["images"], "present": 21 - shard["images"], "lost": 0}
    assert rows_or_files(tmp_path / "a", format_name) == (before if format_name != "lance" else dict(world.originals))


def rows_or_files(folder: Path, format_name: str) -> dict[str, bytes]:
    if format_name != "lance":
        return files_of(folder)
    import lancedb

    rows = lancedb.connect(str(folder)).open_table("images").to_arrow().to_pylist()
    assert len(rows) == len({row["image_id"] for row in rows})
    return {row["image_id"]: row["image"] for row in rows}


@pytest.mark.parametrize("format_name", FORMATS)
def test_an_amended_snapshot_loses_what_was_taken_out(own_world, tmp_path, format_name) -> None:
    snapshot = own_world.freeze()
    run_export(own_world, tmp_path / "a", format_name, snapshot=snapshot)
    gone = sorted(own_world.originals)[-1]
    amend(own_world, gone)
    run_export(own_world, tmp_path / "a", format_name, snapshot=snapshot)
    run_export(own_world, tmp_path / "b", format_name, snapshot=snapshot)
    held = rows_or_files(tmp_path / "a", format_name)
    assert held == rows_or_files(tmp_path / "b", format_name)
    assert gone.encode() not in b"".join(files_of(tmp_path / "a").values())
    assert not any(gone in name for name in files_of(tmp_path / "a"))


@pytest.mark.parametrize("format_name", FILE_FORMATS)
def test_another_shard_size_rewrites(world, tmp_path, format_name) -> None:
    run_export(world, tmp_path / "a", format_name, shard_bytes=20_000)
    run_export(world, tmp_path / "a", format_name, shard_bytes=90_000)
    run_export(world, tmp_path / "b", format_name, shard_bytes=90_000)
    assert files_of(tmp_path / "a") == files_of(tmp_path / "b")


def test_a_caption_that_was_written_since_is_told(own_world, tmp_path) -> None:
    run_export(own_world, tmp_path / "a", "imagefolder")
    image_id = sorted(own_world.originals)[0]
    row = dict.fromkeys(TABLES["captions"].schema.names) | {
        "caption_id": "c1",
        "image_id": image_id,
        "kind": "general",
        "text": "a new caption",
        "language": "en",
    }
    own_world.workspace.tables.append(
        "captions", pa.Table.from_pylist([row], schema=TABLES["captions"].schema), run_id="test"
    )
    run_export(own_world, tmp_path / "a", "imagefolder")
    lines = [json.loads(line) for line in (tmp_path / "a" / "metadata.jsonl").read_text().splitlines()]
    told = json.loads(next(line["record"] for line in lines if line["image_id"] == image_id))
    assert {"kind": "general", "text": "a new caption", "language": "en", "caption_id": "c1"} in told["captions"]


@pytest.mark.parametrize("format_name", FORMATS)
def test_changed_and_vanished_originals_stop_the_export(own_world, tmp_path, format_name) -> None:
    changed, vanished = [image for image, path in sorted(own_world.paths.items()) if path.suffix == ".jpg"][:2]
    whole = own_world.paths[changed].read_bytes()
    own_world.paths[changed].write_bytes(whole[:-1] + b"?")
    own_world.paths[vanished].rename(tmp_path / "elsewhere")
    with pytest.raises(ContentChanged, match=r"2 of 9 originals vanished or changed.*flywheel verify"):
        run_export(own_world, tmp_path / "a", format_name, shard_bytes=10_000)
    assert not (tmp_path / "a" / "manifest.json").exists()
    run = own_world.workspace.query("SELECT status, counts FROM runs WHERE step = 'export'").to_pylist()[0]
    counts = json.loads(run["counts"])
    assert run["status"] == "failed"
    assert counts["in"] == 9 == counts["written"] + counts["lost"]
    assert 2 <= counts["lost"] < 9
    own_world.paths[changed].write_bytes(whole)
    (tmp_path / "elsewhere").rename(own_world.paths[vanished])
    mended = run_export(own_world, tmp_path / "a", format_name, shard_bytes=10_000)
    assert mended.counts["written"] == counts["lost"]
    run_export(own_world, tmp_path / "b", format_name, shard_bytes=10_000)
    assert rows_or_files(tmp_path / "a", format_name) == rows_or_files(tmp_path / "b", format_name)


def test_a_full_disk_pauses_the_export(own_world, tmp_path) -> None:
    snapshot = own_world.freeze()
    run_export(own_world, tmp_path / "a", "webdataset", shard_bytes=10_000)
    workspace = own_world.workspace
    reserve = workspace.config.run.model_copy(update={"disk_reserve_mb": 1 << 40})
    workspace.config = workspace.config.model_copy(update={"run": reserve})
    with pytest.raises(DiskReserve):
        run_export(own_world, tmp_path / "b", "webdataset", snapshot=snapshot)
    assert not (tmp_path / "b" / "manifest.json").exists()


@pytest.mark.slow
def test_to_an_object_store(world, tmp_path, monkeypatch) -> None:
    server = pytest.importorskip("moto.server")
    boto3 = pytest.importorskip("boto3")
    for name, value in {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_REGION": "us-east-1"}.items():
        monkeypatch.setenv(name, value)
    running = server.ThreadedMotoServer(port=0, verbose=False)
    running.start()
    try:
        host, port = running.get_host_and_port()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        boto3.client("s3", region_name="us-east-1").create_bucket(Bucket="shards")
        for format_name in FILE_FORMATS:
            to = f"s3://shards/{format_name}"
            run_export(world, to, format_name)
            assert run_export(world, to, format_name).run_id is None
            run_export(world, tmp_path / format_name, format_name)
            store = Store(to)
            held = {store.relpath_of(stored.uri): store.read(store.relpath_of(stored.uri)) for stored in store.list()}
            assert held == files_of(tmp_path / format_name)
    finally:
        running.stop()
