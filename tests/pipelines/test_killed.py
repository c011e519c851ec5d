"""kill -9 at random points of the main job: started again, it ends with the tables of an undisturbed run."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from flywheel.workspace import Workspace
from pipelines.judging import init_workspace, open_workspace

POINTS = int(os.environ.get("FLYWHEEL_KILLS", "10"))
# Seeds rotate from day to day; a failure names its seed.
SEED = int(os.environ.get("FLYWHEEL_KILL_SEED", str(int(time.time()) // 86_400)))

_NOT_COMPARED = {"run_events", "policies", "policy_events"}


def command(workspace: Path, source: Path, executor: str = "local") -> list[str]:
    script = "import sys; from flywheel.cli import main; sys.argv[0] = 'flywheel'; main()"
    arguments = ["curate", str(source), "-w", str(workspace), "--workers", "2", "--executor", executor]
    return [sys.executable, "-c", script, *arguments]


def fresh(path: Path) -> Path:
    init_workspace(str(path), "cpu")
    config = path / "flywheel.toml"
    config.write_text(config.read_text().replace("micro_batch = 256", "micro_batch = 4"))
    return path


def contents(workspace: Workspace) -> dict[str, list[str]]:
    """Every table, as sorted rows; runs and times live in tables of their own."""
    return {
        name: sorted(str(row) for row in workspace.query(f"SELECT * FROM {name}").to_pylist())
        for name in workspace.tables.names()
        if name not in _NOT_COMPARED
    }


def settle_conservation(workspace: Workspace, files: int) -> None:
    outcomes = workspace.query(
        "SELECT count(*) AS n, count(DISTINCT subject_id) AS d FROM outcomes WHERE step = 'ingest'"
    )
    assert outcomes.to_pylist() == [{"n": files, "d": files}]


@pytest.fixture(scope="module")
def undisturbed(few_images: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, list[str]], float]:
    path = fresh(tmp_path_factory.mktemp("undisturbed") / "ws")
    began = time.monotonic()
    subprocess.run(command(path, few_images), check=True, capture_output=True)
    return contents(open_workspace(str(path))), time.monotonic() - began


def kill_after(arguments: list[str], delay_s: float) -> bool:
    """Start, wait, SIGKILL the driver alone; True when it was still at work."""
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        process.wait(timeout=delay_s)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()
        return True
    return False


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("point", range(POINTS))
def test_killed_and_started_again(
    point: int, undisturbed: tuple[dict[str, list[str]], float], few_images: Path, tmp_path: Path
) -> None:
    expected, whole_s = undisturbed
    rng = random.Random(f"{SEED}-{point}")
    path = fresh(tmp_path / "ws")
    kills = 0
    while kill_after(command(path, few_images), rng.uniform(0.3, 1.0) * whole_s):
        kills += 1
        if kills == 3:
            subprocess.run(command(path, few_images), check=True, capture_output=True)
            break
    workspace = open_workspace(str(path))
    settle_conservation(workspace, sum(1 for _ in few_images.iterdir()))
    for name, rows in contents(workspace).items():
        assert rows == expected[name], f"{name} differs after {kills} kills (seed {SEED}, point {point})"


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_killed_under_ray_and_started_again_locally(
    undisturbed: tuple[dict[str, list[str]], float], few_images: Path, tmp_path: Path
) -> None:
    expected, whole_s = undisturbed
    path = fresh(tmp_path / "ws")
    kill_after(command(path, few_images, "ray"), 15 + random.Random(SEED).uniform(0.2, 1.0) * whole_s)
    subprocess.run(command(path, few_images, "ray"), check=True, capture_output=True)
    for name, rows in contents(open_workspace(str(path))).items():
        assert rows == expected[name], f"{name} differs (seed {SEED})"
