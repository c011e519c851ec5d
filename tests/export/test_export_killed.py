"""kill -9 anywhere in an export: started again, it ends as if nothing had happened."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.export import FORMATS, export

CHILD = Path(__file__).with_name("killed_export.py")
SHARD_BYTES = 40_000


def child(world, snapshot: str, to: Path, format_name: str, at_call: int) -> subprocess.CompletedProcess[str]:
    job = {
        "workspace": world.workspace.uri,
        "snapshot_id": snapshot,
        "to": str(to),
        "format": format_name,
        "shard_bytes": SHARD_BYTES,
        "views": dict(world.views),
        "at_call": at_call,
    }
    return subprocess.run(
        [sys.executable, str(CHILD), json.dumps(job)], capture_output=True, text=True, timeout=120, check=False
    )


@pytest.fixture(scope="module")
def undisturbed(world, tmp_path_factory):
    """By format: the folder of an export that nobody killed, and how many calls it took to write."""
    done: dict[str, tuple[Path, int]] = {}

    def of(format_name: str) -> tuple[Path, int]:
        if format_name not in done:
            folder = tmp_path_factory.mktemp("undisturbed") / format_name
            finished = child(world, world.freeze(), folder, format_name, 0)
            assert finished.returncode == 0, finished.stderr
            done[format_name] = (folder, int(finished.stdout))
        return done[format_name]

    return of


def check_killed(world, undisturbed, folder: Path, format_name: str, at: float) -> None:
    """Kill at the share `at` of an export's calls, resume in this process, compare."""
    expected, calls = undisturbed(format_name)
    snapshot = world.freeze()
    killed = child(world, snapshot, folder, format_name, max(1, round(at * calls)))
    assert killed.returncode in (-signal.SIGKILL, 0), killed.stderr
    assert (folder / ".export").exists() or (folder / "manifest.json").exists() or at < 0.1
    export(
        world.workspace,
        snapshot,
        str(folder),
        format_name,
        views=world.views,
        progress=lambda *_: None,
        shard_bytes=SHARD_BYTES,
    )
    assert contents(folder, format_name) == contents(expected, format_name)
    left = [path.name for path in folder.rglob("*") if path.name.endswith((".aside", ".tmp")) or path.name == ".export"]
    assert left == []


def contents(folder: Path, format_name: str) -> object:
    if format_name != "lance":
        return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    import lancedb

    rows = lancedb.connect(str(folder)).open_table("images").to_arrow().to_pylist()
    return sorted(rows, key=lambda row: str(row["image_id"])), (folder / "manifest.json").read_bytes()


@pytest.mark.parametrize(("format_name", "at"), [("webdataset", 0.55), ("parquet", 0.8), ("imagefolder", 0.7)])
def test_killed_and_resumed(world, undisturbed, tmp_path, format_name, at) -> None:
    check_killed(world, undisturbed, tmp_path / "a", format_name, at)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("format_name", FORMATS)
def test_killed_at_random_points(world, undisturbed, tmp_path, format_name, seed) -> None:
    at = random.Random().random()
    try:
        check_killed(world, undisturbed, tmp_path / "a", format_name, at)
    except AssertionError as error:
        raise AssertionError(f"{format_name} killed at {at!r} of its calls") from error


@pytest.mark.slow
@pytest.mark.parametrize("format_name", FORMATS)
def test_killed_again_and_again(world, undisturbed, tmp_path, format_name) -> None:
    _, calls = undisturbed(format_name)
    for at in (0.9, 0.7, 0.8, 0.6):
        child(world, world.freeze(), tmp_path / "a", format_name, round(at * calls))
    check_killed(world, undisturbed, tmp_path / "a", format_name, 0.95)
