"""Ray answers as the local executor does: same answers, same order, the same few micro-batches in flight."""

import os
import subprocess
import sys
import textwrap
import time
from functools import partial
from pathlib import Path

import psutil
import pytest

from flywheel.errors import SourceError
from pipelines.executors import Task
from pipelines.executors.local import LocalExecutor
from pipelines.executors.ray_data import RayExecutor, RayWorkFailed
from pipelines.ingest import ingest
from pipelines.judging import init_workspace

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

WORKERS = 2
_NOT_FACTS = {"run_events", "policies", "policy_events"}


def task_of(item: str = "executor_tasks:act", context: object = None, around: str = "", **given: str) -> Task:
    import executor_tasks

    worked = partial(getattr(executor_tasks, around), **given) if around else None
    return Task(item=item, around=worked, context=context, memory_bytes=1 << 30, item_s=2.0)


def nothing() -> None:
    pass


@pytest.mark.usefixtures("ray_cluster")
def test_deaths_timeouts_and_odd_rows_come_back_as_from_the_local_executor():
    batches = [[0, "exit", 1], [2, "raise"], ["sleep", 3], [], [4], ["exit", "exit", 5], [6, 7]]
    task = task_of(context="shared")
    local = list(LocalExecutor(WORKERS).map(task, batches, nothing))
    assert list(RayExecutor(WORKERS).map(task, batches, nothing)) == local
    assert [batch for batch, _ in local] == batches


@pytest.mark.usefixtures("ray_cluster")
def test_a_slow_reader_is_never_run_ahead_of(tmp_path: Path):
    """What a killed driver repeats is what was begun and not yet committed: at most one a worker."""
    begun, planned = tmp_path / "begun.txt", []

    def plan():
        for number in range(10):
            planned.append(number)
            yield [number]

    task = task_of(around="logged", folder=str(tmp_path))
    ahead = []
    for committed, _ in enumerate(RayExecutor(WORKERS).map(task, plan(), nothing)):
        time.sleep(0.5)  # a commit that takes its time, while workers have none to lose
        ahead.append(len(begun.read_text().split()) - committed)
        assert len(planned) <= committed + WORKERS + 1
    assert max(ahead) <= WORKERS
    assert sorted(begun.read_text().split()) == sorted(str(number) for number in range(10))


@pytest.mark.usefixtures("ray_cluster")
def test_a_killed_worker_loses_and_repeats_nothing_for_the_reader(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also over the seam of two datasets of tickets."""
    monkeypatch.setattr("pipelines.executors.ray_data._TICKETS", 4)
    task = task_of(context="shared", around="dies_once", folder=str(tmp_path))
    batches = [[number] for number in range(6)]
    answered = list(RayExecutor(WORKERS).map(task, batches, nothing))
    assert [batch for batch, _ in answered] == batches
    assert [answers for _, answers in answered] == [[(number, "shared")] for number in range(6)]
    assert (tmp_path / "killed2").exists()


@pytest.mark.usefixtures("ray_cluster")
def test_ingest_gives_the_same_tables(few_images: Path, tmp_path: Path) -> None:
    """Hostile files and all: every table of facts is equal, run ids and times apart."""
    found = []
    for name, executor in (("local", LocalExecutor(WORKERS)), ("ray", RayExecutor(WORKERS))):
        workspace = init_workspace(str(tmp_path / name), "cpu")
        config = tmp_path / name / "flywheel.toml"
        config.write_text(config.read_text().replace("micro_batch = 256", "micro_batch = 4"))
        report = ingest(workspace, [str(few_images)], executor, lambda *_: None)
        names = [table for table in workspace.tables.names() if table not in _NOT_FACTS]
        rows = {table: sorted(map(str, workspace.query(f"SELECT * FROM {table}").to_pylist())) for table in names}
        found.append((report.counts, rows))
    assert found[0] == found[1]
    assert len({"new", "rejected"} & set(found[0][0])) == 2


@pytest.mark.usefixtures("ray_cluster")
def test_what_a_worker_raises_is_one_line(capfd: pytest.CaptureFixture[str]):
    with pytest.raises(SourceError, match=r"^said by a worker$"):
        list(RayExecutor(WORKERS).map(task_of(around="refuses"), [[1], [2]], nothing))
    with pytest.raises(RayWorkFailed) as broken:
        list(RayExecutor(WORKERS).map(task_of(around="breaks"), [[1], [2]], nothing))
    assert str(broken.value) == "a Ray worker could not do its micro-batch: ValueError: a bug"
    assert "Traceback" not in "".join(capfd.readouterr())


@pytest.mark.usefixtures("ray_cluster")
def test_waiting_looks_up_and_what_that_raises_ends_the_wait():
    class Superseded(Exception):
        pass

    def looks_up() -> None:
        raise Superseded

    with pytest.raises(Superseded):
        list(RayExecutor(WORKERS).map(task_of(), [["sleep"], [1]], looks_up))
    assert list(RayExecutor(WORKERS).map(task_of(), [[1]], nothing)) == [([1], [(1, None)])]


@pytest.mark.usefixtures("ray_cluster")
def test_a_worker_costs_little_beyond_ray_itself():
    """A bare Ray process holds 80 to 130 MB; with the child, which loads nothing here, 400 MB are not reached."""
    ((_, [(child, holder)]),) = RayExecutor(1).map(task_of(item="executor_tasks:memory"), [[0]], nothing)
    assert child + holder < 400 << 20


def test_nothing_to_do_starts_nothing():
    code = """
        import sys
        from pipelines.executors import executor
        assert list(executor("ray", 2).map(object(), iter(()), None)) == []
        assert "ray" not in sys.modules
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True)


def test_a_killed_driver_takes_its_cluster_along(tmp_path: Path):
    code = """
        import sys, time
        from pipelines.executors.ray_data import connect
        if __name__ == "__main__":
            connect(1)
            print("connected", flush=True)
            time.sleep(600)
    """
    driver = tmp_path / "driver.py"
    driver.write_text(textwrap.dedent(code))
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    process = subprocess.Popen([sys.executable, str(driver)], stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None
    assert process.stdout.readline().strip() == "connected"
    family = psutil.Process(process.pid).children(recursive=True)
    assert family
    process.kill()
    process.wait()
    _, alive = psutil.wait_procs(family, timeout=180)
    # Two agents first wait for the store of the cluster to answer before they believe that it is gone; a busy machine is slow.
    assert {member.name() for member in alive} <= {"ray::DashboardAgent", "ray::RuntimeEnvAgent"}
    for member in alive:
        member.kill()


def test_no_cluster_at_the_address_is_one_line():
    code = """
        from pipelines.executors.ray_data import connect
        from flywheel.errors import UsageError
        try:
            connect(1)
        except UsageError as error:
            print(error)
    """
    environment = os.environ | {"RAY_ADDRESS": "127.0.0.1:1"}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], env=environment, capture_output=True, text=True
    )
    assert done.stdout.startswith("cannot reach the Ray cluster at RAY_ADDRESS=127.0.0.1:1: ")
    assert len(done.stdout.splitlines()) == 1
