"""kill -9 at random points of the main job: started again, it ends with the tables of an undisturbed run.

Over two sources, a folder (referenced) and a gz tar (copied into packs), from the first commit on. What workers
begin is counted: a kill costs at most the micro-batch that each of them had in hand.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tarfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from flywheel.records import Locator
from flywheel.workspace import Workspace
from pipelines.decoding import read_verified
from pipelines.judging import init_workspace, open_workspace

POINTS = int(os.environ.get("FLYWHEEL_KILLS", "10"))
RAY_POINTS = max(2, POINTS // 10)
# Seeds rotate from day to day; a failure names its seed.
SEED = int(os.environ.get("FLYWHEEL_KILL_SEED", str(int(time.time()) // 86_400)))
WORKERS, MICRO_BATCH = 2, 4
_NOT_COMPARED = {"run_events", "policies", "policy_events"}
_SCRIPT = Path(__file__).with_name("killed_curate.py")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@dataclass(frozen=True)
class Job:
    """One workspace over the two sources; `flywheel curate` of it in a process of its own."""

    place: Path
    sources: tuple[Path, ...]
    executor: str = "local"

    @property
    def log(self) -> Path:
        return self.place.with_suffix(".log")

    def prepare(self) -> None:
        init_workspace(str(self.place), "cpu")
        config = self.place / "flywheel.toml"
        config.write_text(config.read_text().replace("micro_batch = 256", f"micro_batch = {MICRO_BATCH}"))

    def start(self) -> subprocess.Popen[bytes]:
        arguments = ["curate", *self.sources, "-w", self.place, "--workers", WORKERS, "--executor", self.executor]
        command = [sys.executable, str(_SCRIPT), str(self.log), *map(str, arguments)]
        with self.place.with_suffix(".err").open("ab") as errors:
            return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=errors)

    def run_to_its_end(self) -> None:
        process = self.start()
        assert process.wait() == 0, self.place.with_suffix(".err").read_text()

    def kill_after(self, commits: int, delay_s: float) -> bool:
        """SIGKILL to the driver alone, so long after it made so many commits; False when it had ended before."""
        process, before = self.start(), self.commits
        while self.commits < before + commits and process.poll() is None:
            time.sleep(0.01)
        time.sleep(delay_s)
        process.kill()
        return process.wait() < 0

    @property
    def commits(self) -> int:
        """How many there are, to all tables."""
        return sum(len(os.listdir(log)) for log in (self.place / "tables").glob("*/_delta_log"))

    @property
    def begun(self) -> Counter[str]:
        """Items that workers began, by what they were to do with them."""
        counts: Counter[str] = Counter()
        for line in self.log.read_text().splitlines() if self.log.exists() else ():
            name, items = line.split()
            counts[name] += int(items)
        return counts

    @property
    def workspace(self) -> Workspace:
        return open_workspace(str(self.place))

    def contents(self) -> dict[str, list[str]]:
        """Every table, as sorted rows; runs and times live in tables of their own, packs in this workspace."""
        workspace = self.workspace
        return {
            name: sorted(
                str(row).replace(workspace.uri, "WORKSPACE")
                for row in workspace.query(f"SELECT * FROM {name}").to_pylist()
            )
            for name in workspace.tables.names()
            if name not in _NOT_COMPARED
        }


@dataclass(frozen=True)
class Undisturbed:
    contents: dict[str, list[str]]
    begun: Counter[str]
    commits: int


@pytest.fixture(scope="module")
def sources(few_images: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("sources")
    (root / "folder").mkdir()
    with tarfile.open(root / "rest.tar.gz", "w:gz") as tar:
        for number, file in enumerate(sorted(few_images.iterdir())):
            if number % 2:
                tar.add(file, file.name, filter=lambda member: member.replace(mtime=0, deep=False))
            else:
                (root / "folder" / file.name).write_bytes(file.read_bytes())
    return root / "folder", root / "rest.tar.gz"


def undisturbed_by(executor: str, sources: tuple[Path, Path], root: Path) -> Undisturbed:
    job = Job(root / "ws", sources, executor)
    job.prepare()
    before = job.commits
    job.run_to_its_end()
    return Undisturbed(job.contents(), job.begun, job.commits - before)


@pytest.fixture(scope="module")
def undisturbed(sources: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    return undisturbed_by("local", sources, tmp_path_factory.mktemp("undisturbed"))


@pytest.fixture(scope="module")
def undisturbed_ray(sources: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    return undisturbed_by("ray", sources, tmp_path_factory.mktemp("undisturbed_ray"))


def killed(
    folder: Path, sources: tuple[Path, Path], executor: str, rng: random.Random, commits: int, kills: int = 1
) -> tuple[Job, int]:
    """A job that was killed up to so many times, once for certain, and how many times it was.

    Anywhere from the first commit on, right after one or a while later: what takes long between two commits is
    hit no more often than what takes a moment.
    """

    def point() -> tuple[int, float]:
        return rng.randint(1, commits), rng.choice((rng.uniform(0, 0.05), rng.uniform(0, 2)))

    for attempt in range(6):  # one that escapes the first kill is begun anew
        job = Job(folder / f"ws{attempt}", sources, executor)
        job.prepare()
        if job.kill_after(*point()):
            break
    else:
        pytest.fail("no kill hit a run")
    hits = 1
    while hits < kills and job.kill_after(*point()):
        hits += 1
    return job, hits


def check(job: Job, expected: Undisturbed, hits: int, told: str) -> None:
    for name, rows in job.contents().items():
        assert rows == expected.contents[name], f"{name} differs, {told}"
    for name, count in job.begun.items():
        assert count <= expected.begun[name] + hits * WORKERS * MICRO_BATCH, f"{name} was repeated, {told}"
    for image_id, locator in images(job.workspace):
        read_verified(image_id, locator)


def images(workspace: Workspace) -> Iterator[tuple[str, Locator]]:
    for row in workspace.query('SELECT image_id, uri, member, "offset", length FROM images').to_pylist():
        yield row.pop("image_id"), Locator(**row)


@pytest.mark.parametrize("point", range(POINTS))
def test_killed_and_started_again(
    point: int, undisturbed: Undisturbed, sources: tuple[Path, Path], tmp_path: Path
) -> None:
    rng = random.Random(f"{SEED}-{point}")
    job, hits = killed(tmp_path, sources, "local", rng, undisturbed.commits, kills=1 + point % 3)
    job.run_to_its_end()
    check(job, undisturbed, hits, f"killed {hits} times (seed {SEED}, point {point})")


def test_two_executors_leave_the_same_tables(undisturbed: Undisturbed, undisturbed_ray: Undisturbed) -> None:
    assert undisturbed_ray.contents == undisturbed.contents
    assert undisturbed_ray.begun == undisturbed.begun


@pytest.mark.parametrize("point", range(RAY_POINTS))
def test_killed_under_ray_and_started_again(
    point: int, undisturbed: Undisturbed, undisturbed_ray: Undisturbed, sources: tuple[Path, Path], tmp_path: Path
) -> None:
    rng = random.Random(f"{SEED}-ray-{point}")
    job, hits = killed(tmp_path, sources, "ray", rng, undisturbed_ray.commits)
    again = Job(job.place, sources, ("ray", "local")[point % 2])
    again.run_to_its_end()
    check(again, undisturbed, hits, f"killed under Ray (seed {SEED}, point {point})")
