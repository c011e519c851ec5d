"""The curate flow through a real Prefect server that `flywheel up` started: one start for all of this file."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from flywheel.errors import AnotherDriver, SourceError, UsageError
from pipelines.engine import StepReport
from pipelines.judging import init_workspace, open_workspace

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

_COMMAND = [sys.executable, "-c", "import sys; from flywheel.cli import main; sys.argv[0] = 'flywheel'; main()", "up"]


@dataclass(frozen=True)
class Served:
    """A running `flywheel up` and what it said."""

    workspace: str
    sources: list[str]
    api_url: str
    deployment: str
    server_pid: int

    @property
    def name(self) -> str:
        return self.deployment.removeprefix("curate/")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def surroundings(**more: str) -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")} | more


@pytest.fixture(scope="module")
def served(few_images: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    root = tmp_path_factory.mktemp("served")
    init_workspace(str(root / "ws"), "cpu")
    arguments = ["-w", str(root / "ws"), "--source", str(few_images), "--cron", "0 3 * * *", "--json"]
    with (root / "up.log").open("w") as log:
        process = subprocess.Popen(
            [*_COMMAND, *arguments, "--port", str(free_port())],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=surroundings(),
        )
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, (root / "up.log").read_text()
    up = json.loads(line)
    try:
        yield Served(str(root / "ws"), [str(few_images)], up["api_url"], up["deployment"], up["server_pid"])
    finally:
        family = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGTERM)
        assert process.wait(120) == 0, (root / "up.log").read_text()
        _, alive = psutil.wait_procs(family, timeout=30)
        assert alive == []
        assert "Traceback" not in (root / "up.log").read_text()


@pytest.fixture(scope="module")
def client(served: Served, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A client of that server; flows called in this process report to it too."""
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings

    settings = {PREFECT_API_URL: served.api_url, PREFECT_HOME: tmp_path_factory.mktemp("prefect")}
    with temporary_settings(settings), get_client(sync_client=True) as connected:
        yield connected


def test_the_schedule_makes_runs(served: Served, client: Any) -> None:
    """Not only the deployment's word: the scheduler service must have written runs (SQLAlchemy 2.1 broke it)."""
    from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId

    deployment = client.read_deployment_by_name(served.deployment)
    assert [schedule.schedule.cron for schedule in deployment.schedules] == ["0 3 * * *"]
    assert deployment.global_concurrency_limit.limit == 1
    here = DeploymentFilter(id=DeploymentFilterId(any_=[deployment.id]))
    until = time.monotonic() + 120
    while not (runs := client.read_flow_runs(deployment_filter=here)) and time.monotonic() < until:
        time.sleep(1)
    assert {run.expected_start_time.hour for run in runs} == {3}


def test_two_runs_of_one_workspace_go_one_after_the_other(served: Served, client: Any) -> None:
    from prefect.deployments import run_deployment

    asked = [run_deployment(served.deployment, timeout=0) for _ in range(2)]
    until = time.monotonic() + 600
    while time.monotonic() < until:
        first, second = sorted(
            (client.read_flow_run(run.id) for run in asked), key=lambda run: (run.start_time is None, run.start_time)
        )
        if first.state.is_final() and second.state.is_final():
            break
        time.sleep(1)
    assert [first.state.name, second.state.name] == ["Completed", "Completed"]
    assert first.end_time <= second.start_time
    assert f"workspace:{served.name}" in first.tags
    assert first.name.startswith(served.name)
    check_artifacts(served, client)


def check_artifacts(served: Served, client: Any) -> None:
    from pipelines.filtering import judge

    workspace = open_workspace(served.workspace)
    kept = {artifact.key: artifact for artifact in client.read_artifacts(limit=100)}
    funnel = json.loads(kept[f"funnel-{served.name}"].data)
    stages = judge(workspace, record=False).stages
    assert [row["kept"] for row in funnel] == [stage.total.kept for stage in stages]
    assert all(row["in"] == row["kept"] + row["dropped"] + row["unjudged"] for row in funnel)
    rejects = json.loads(kept[f"reject-reasons-{served.name}"].data)
    assert {"step", "status", "reason", "images", "this run"} == set(rejects[0])
    runs = workspace.query("SELECT run_id FROM runs WHERE step = 'ingest'")["run_id"].to_pylist()
    pages = [artifact.data for artifact in client.read_artifacts(limit=100) if artifact.key == f"curate-{served.name}"]
    assert len(runs) == 1, "the second run had nothing to ingest"
    assert any(runs[0] in page and "/runs/flow-run/" in page for page in pages)
    for step in ("ingest", "measure-native", "duplicates"):
        assert kept[f"progress-{step}-{served.name}"].data == 100.0


@pytest.mark.usefixtures("client")
def test_the_flow_is_the_command(served: Served, tmp_path: Path) -> None:
    """Same steps, same order, same counts as `flywheel curate`; a second time there is nothing to do."""
    from pipelines.curate import curate
    from pipelines.executors.local import LocalExecutor
    from pipelines.flows import curate as flow

    plain = init_workspace(str(tmp_path / "plain"), "cpu")
    expected = curate(plain, served.sources, LocalExecutor(2), lambda *_: None)
    init_workspace(str(tmp_path / "flow"), "cpu")
    report = flow(workspace=str(tmp_path / "flow"), sources=served.sources)
    assert [(step.step, step.counts) for step in report.steps] == [(step.step, step.counts) for step in expected.steps]
    assert report.funnel == expected.funnel
    again = flow(workspace=str(tmp_path / "flow"), sources=served.sources)
    assert {step.run_id for step in again.steps} == {None}


@pytest.mark.usefixtures("client")
@pytest.mark.parametrize(
    ("error", "calls"),
    [(OSError("disk hiccup"), 3), (SourceError("gone"), 3), (UsageError("yours"), 1), (AnotherDriver("busy"), 1)],
)
def test_a_step_is_retried_where_that_may_help(error: Exception, calls: int) -> None:
    from prefect import flow

    from pipelines.flows import step

    tried: list[int] = []

    def work(_: object) -> StepReport:
        tried.append(1)
        if len(tried) < 3:
            raise error
        return StepReport("work", None, {})

    @flow(name="retries")
    def retries() -> object:
        return step.with_options(retry_delay_seconds=0)("work", "progress-work", work)

    if calls == 1:
        with pytest.raises(type(error)):
            retries()
    else:
        assert retries() == StepReport("work", None, {})
    assert len(tried) == calls


def refused(*arguments: str, **environment: str) -> tuple[int, str]:
    done = subprocess.run([*_COMMAND, *arguments], env=surroundings(**environment), capture_output=True, text=True)
    lines = [line for line in done.stderr.splitlines() if not line.startswith("starting")]
    assert len(lines) == 1, done.stderr
    return done.returncode, lines[0]


def test_what_stands_in_the_way_is_said_in_one_line(tmp_path: Path) -> None:
    init_workspace(str(tmp_path / "ws"), "cpu")
    where = ("-w", str(tmp_path / "ws"))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        code, line = refused(*where, "--port", port)
    assert (code, line.startswith(f"flywheel: port {port} is taken")) == (2, True)
    code, line = refused(*where, "--cron", "every night")
    assert (code, "'every night' is no cron schedule" in line) == (2, True)
    code, line = refused(*where, PREFECT_API_URL="http://127.0.0.1:1/api")
    assert (code, "no Prefect server answers" in line) == (1, True)
    broken = {"PREFECT_API_DATABASE_CONNECTION_URL": "sqlite+aiosqlite:////nowhere/at/all.db"}
    code, line = refused(*where, "--port", str(free_port()), **broken)
    assert (code, "the Prefect server ended while starting: " in line) == (1, True)
