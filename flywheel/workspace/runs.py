"""Runs: who drives which step, over which table versions, with which counts.

A run is a sequence of events. The first one, `started`, is committed behind the fence of its step, so of
two drivers that start together one is refused. A driver that died is told by its process (same host) or
by its silence (another host), and then simply superseded; should it wake up, the fences stop it.

Steps that take rows away (`TAKING`) run beside nothing: nobody starts while one of them is driven, and they
ask for quiet themselves (`require_idle`). Each side says that it started before it looks for the other, so
of two that begin at the same moment at least one sees the other and steps back.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import psutil
import pyarrow as pa

from flywheel import __version__
from flywheel.clock import now
from flywheel.errors import AnotherDriver, DiskReserve
from flywheel.schemas import TABLES
from flywheel.workspace.tables import FencedTable
from flywheel.workspace.workspace import Workspace

TAKING = ("forget", "retract")
HEARTBEAT_S = 20.0
_SILENCE_S = 60.0  # our choice: three missed heartbeats
_SCHEMA = TABLES["run_events"].schema


class Run:
    """A run in progress. Created by `start`."""

    def __init__(self, workspace: Workspace, step: str, config_hash: str, detail: Mapping[str, Any]) -> None:
        self.workspace, self.step, self.config_hash = workspace, step, config_hash
        self.run_id = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{step.replace('.', '-')}-{secrets.token_hex(2)}"
        self.detail = dict(detail)
        self._began, self._cpu = time.monotonic(), _cpu_s()
        self._last_event = time.monotonic()
        self._seq = 0
        self._events = FencedTable(workspace.tables, "run_events", f"driver:{step}", self.run_id)
        self.tables_in = workspace.tables.versions()

    def event(self, event: str, **columns: Any) -> None:
        row = dict.fromkeys(_SCHEMA.names) | {
            "run_id": self.run_id,
            "seq": self._seq,
            "step": self.step,
            "event": event,
            "at": now(),
            **columns,
        }
        self._events.append(pa.Table.from_pylist([row], schema=_SCHEMA))
        self._seq += 1
        self._last_event = time.monotonic()

    def heartbeat(self) -> None:
        """Say that the driver is alive, at most every HEARTBEAT_S."""
        if time.monotonic() - self._last_event > HEARTBEAT_S:
            self.event("heartbeat")

    @contextmanager
    def recorded(self, counts: Mapping[str, Any]) -> Iterator[None]:
        """Around the work: what ends it early ends the run, with the counts so far, and goes on its way.

        Whatever it was: a run left open by a living process would keep every other driver out.
        """
        try:
            yield
        except DiskReserve:
            self.end("paused", counts)
            raise
        except KeyboardInterrupt:
            self.end("interrupted", counts)
            raise
        except Exception as error:
            self.end("failed", counts, {"error": str(error) or type(error).__name__})
            raise

    def end(self, event: str, counts: Mapping[str, Any], detail: Mapping[str, Any] | None = None) -> None:
        """The last event of a run: finished, failed, paused, interrupted or refused."""
        versions = self.workspace.tables.versions()
        self.event(
            event,
            tables_out_json=json.dumps(versions, sort_keys=True),
            counts_json=json.dumps(counts, sort_keys=True),
            detail_json=json.dumps({**self.detail, **(detail or {})}, sort_keys=True),
            wall_s=time.monotonic() - self._began,
            cpu_s=_cpu_s() - self._cpu,
        )


def start(
    workspace: Workspace,
    step: str,
    config_hash: str = "",
    detail: Mapping[str, Any] | None = None,
    *,
    frees_disk: bool = False,
) -> Run:
    """Begin to drive a step. One that frees the disk (`frees_disk`) may start when it is full.

    Raises AnotherDriver, naming it, when a live driver has the step or takes rows away; DiskReserve.
    """
    if not frees_disk:
        workspace.require_disk()
    run = Run(workspace, step, config_hash, detail or {})
    taking = ", ".join(f"'{name}'" for name in TAKING if name != step)
    _refuse_if_driven(workspace, f"step IN ('{step}', {taking})")
    run.event(
        "started",
        driver=json.dumps(_myself(), sort_keys=True),
        code_revision=__version__,
        config_hash=config_hash,
        tables_in_json=json.dumps(run.tables_in, sort_keys=True),
        detail_json=json.dumps(run.detail, sort_keys=True),
    )
    try:  # one that began at the same moment shows only now
        _refuse_if_driven(workspace, f"step IN ({taking})")
    except AnotherDriver:
        run.end("refused", {})
        raise
    return run


def require_idle(workspace: Workspace, but: str) -> None:
    """For what must not run beside any step other than itself (`but`).

    Raises AnotherDriver naming the first live driver.
    """
    _refuse_if_driven(workspace, f"step <> '{but}'")


def _refuse_if_driven(workspace: Workspace, which: str) -> None:
    running = workspace.query(f"SELECT run_id, step, driver, last_at FROM runs WHERE {which} AND status = 'running'")
    for row in running.to_pylist():
        driver = json.loads(row["driver"])
        if _alive(driver, datetime.fromisoformat(row["last_at"])):
            raise AnotherDriver(
                f"run {row['run_id']} (process {driver['pid']} on {driver['host']}) is driving step {row['step']}; "
                "wait for it or end it"
            )


def _alive(driver: Mapping[str, Any], last: datetime) -> bool:
    if driver["host"] != socket.gethostname():
        return (datetime.now(UTC) - last).total_seconds() < _SILENCE_S
    try:
        process = psutil.Process(driver["pid"])
        return bool(process.create_time() == driver["born"] and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _myself() -> dict[str, Any]:
    return {"host": socket.gethostname(), "pid": os.getpid(), "born": psutil.Process().create_time()}


def _cpu_s() -> float:
    """CPU seconds of this process and its finished children."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system
