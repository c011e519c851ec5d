"""`flywheel up`: a Prefect server (one that runs, or our own child) and this process serving deployments."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import httpx

from flywheel.errors import FlywheelError, UsageError
from flywheel.workspace import Workspace
from pipelines.executors import ExecutorName

_HOST = "127.0.0.1"
_START_S = 300.0  # our choice: migrations of a first start on a loaded machine took 47 s
_END_S = 20.0  # our choice: then a server that was asked to end is killed
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
# Telemetry off: the client's switch, the server's, and that of orchestration events.
_PRIVATE = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_CLOUD_ENABLE_ORCHESTRATION_TELEMETRY": "false",
}


class ServerFailed(FlywheelError):
    """The Prefect server did not come up, or is not there; says its last words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Up:
    """What is there once `flywheel up` is ready. `server_pid` is None for a server that ran before."""

    api_url: str
    ui_url: str
    deployment: str
    cron: str | None
    server_pid: int | None


def serve_curate(
    workspace: Workspace,
    sources: Sequence[str],
    *,
    cron: str | None,
    port: int,
    executor_name: ExecutorName,
    ready: Callable[[Up], None],
) -> None:
    """Serve the workspace's deployment until Ctrl-C or SIGTERM; a server started here ends with it.

    Raises UsageError for a cron line that is none or a taken port, ServerFailed.
    """
    os.environ.update({name: os.environ.get(name, value) for name, value in _PRIVATE.items()})
    running = os.environ.get("PREFECT_API_URL")
    api_url = running or f"http://{_HOST}:{port}/api"
    if not running:
        os.environ["PREFECT_HOME"] = str(_home(workspace))
    # Read when prefect is first imported, which is from here on, and by the processes of flow runs.
    os.environ["PREFECT_API_URL"] = api_url
    _check_cron(cron)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        with _running_server(api_url) if running else _own_server(port, api_url) as pid:
            _serve(workspace, sources, cron, executor_name, lambda name: ready(_up(api_url, name, cron, pid)))
    except (KeyboardInterrupt, asyncio.CancelledError):
        return


def _serve(
    workspace: Workspace,
    sources: Sequence[str],
    cron: str | None,
    executor_name: ExecutorName,
    registered: Callable[[str], None],
) -> None:
    from prefect.runner import Runner

    from pipelines.flows import curate_deployment

    where = str(workspace.path) if workspace.is_local else workspace.uri
    deployment = curate_deployment(where, sources, cron=cron, executor_name=executor_name)

    async def run() -> None:
        runner = Runner(name=f"flywheel {deployment.name}", pause_on_shutdown=True)
        await runner.aadd_deployment(deployment)
        serving = asyncio.ensure_future(runner.start())
        await asyncio.sleep(0)
        # The runner has just put its own handler there, which would leave without unwinding.
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, serving.cancel)
        registered(f"{deployment.flow_name}/{deployment.name}")
        await serving

    asyncio.run(run())


@contextmanager
def _running_server(api_url: str) -> Iterator[None]:
    if not _healthy(api_url):
        raise ServerFailed(f"no Prefect server answers at PREFECT_API_URL={api_url}; start it, or unset the variable")
    yield


@contextmanager
def _own_server(port: int, api_url: str) -> Iterator[int]:
    """Our child's process id."""
    _check_port(port)
    log_path = Path(os.environ["PREFECT_HOME"]) / "server.log"
    log_path.parent.mkdir(parents=True, exist_ok=True)
    with log_path.open("wb") as log:
        process = _start(port, log)
    try:
        _await_health(process, api_url, log_path)
        yield process.pid
    finally:
        _end(process)


def _start(port: int, log: Any) -> subprocess.Popen[bytes]:
    """In a session of its own, so that Ctrl-C lets flow runs report before their server goes."""
    command = [sys.executable, "-P", "-m", "prefect", "server", "start", "--host", _HOST, "--port", str(port)]
    environment = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        env=environment,
        start_new_session=True,
        preexec_fn=_die_with_parent if sys.platform == "linux" else None,
    )


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _await_health(process: subprocess.Popen[bytes], api_url: str, log_path: Path) -> None:
    until = time.monotonic() + _START_S
    while not _healthy(api_url):
        if process.poll() is not None:
            raise ServerFailed(f"the Prefect server ended while starting: {_last_line(log_path)} ({log_path})")
        if time.monotonic() > until:
            raise ServerFailed(
                f"the Prefect server does not answer after {_START_S:g} s: {_last_line(log_path)} ({log_path})"
            )
        time.sleep(0.5)
    if process.poll() is not None:  # somebody else's server answered
        raise ServerFailed(f"the Prefect server ended while starting: {_last_line(log_path)} ({log_path})")


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _healthy(api_url: str) -> bool:
    try:
        return httpx.get(f"{api_url}/health", timeout=5.0).status_code == httpx.codes.OK
    except (httpx.HTTPError, httpx.InvalidURL):
        return False


def _home(workspace: Workspace) -> Path:
    given = os.environ.get("PREFECT_HOME")
    if given:
        return Path(given)
    if not workspace.is_local:
        raise UsageError(
            f"{workspace.uri} is no local folder: set PREFECT_HOME for the server's state, or PREFECT_API_URL"
        )
    return workspace.path / "prefect"


def _check_port(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HOST, port))
        except OSError as error:
            raise UsageError(
                f"port {port} is taken ({error.strerror}); choose another with --port, or set "
                f"PREFECT_API_URL=http://{_HOST}:{port}/api if a Prefect server is there"
            ) from error


def _check_cron(cron: str | None) -> None:
    from prefect.client.schemas.schedules import CronSchedule
    from pydantic import ValidationError

    try:
        _ = CronSchedule(cron=cron) if cron is not None else None
    except ValidationError as error:
        raise UsageError(
            f"{cron!r} is no cron schedule; five fields, as in '0 3 * * *' for every night at three"
        ) from error


def _up(api_url: str, deployment: str, cron: str | None, server_pid: int | None) -> Up:
    return Up(
        api_url=api_url, ui_url=api_url.removesuffix("/api"), deployment=deployment, cron=cron, server_pid=server_pid
    )


def _last_line(log_path: Path) -> str:
    lines = [line.strip() for line in log_path.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"


def _interrupt(_: int, __: FrameType | None) -> None:
    raise KeyboardInterrupt
