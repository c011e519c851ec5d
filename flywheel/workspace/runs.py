"""Runs: who drives which step, over which table versions, with which counts.

A run is a sequence of events. The first one, `started`, is committed behind the fence of its step, so of
two drivers that start together one is refused. A driver that died is told by its process (same host) or
by its silence (another host), and then simply superseded; should it wake up, the fences stop it.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import psutil
import pyarrow as pa

from flywheel import __version__
from flywheel.errors import AnotherDriver
from flywheel.schemas import TABLES
from flywheel.workspace.tables import FencedTable
from flywheel.workspace.workspace import Workspace

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
            "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
            **columns,
        }
        self._events.append(pa.Table.from_pylist([row], schema=_SCHEMA))
        self._seq += 1
        self._last_event = time.monotonic()

    def heartbeat(self) -> None:
        """Say that the driver is alive, at most every HEARTBEAT_S."""
        if time.monotonic() - self._last_event > HEARTBEAT_S:
            self.event("heartbeat")

    def end(self, event: str, counts: Mapping[str, Any], detail: Mapping[str, Any] | None = None) -> None:
        """The last event of a run: finished, failed or paused."""
        versions = self.workspace.tables.versions()
        self.event(
            event,
            tables_out_json=json.dumps(versions, sort_keys=True),
            counts_json=json.dumps(counts, sort_keys=True),
            detail_json=json.dumps({**self.detail, **(detail or {})}, sort_keys=True),
            wall_s=time.monotonic() - self._began,
            cpu_s=_cpu_s() - self._cpu,
        )


def start(workspace: Workspace, step: str, config_hash: str = "", detail: Mapping[str, Any] | None = None) -> Run:
    """Begin to drive a step.

    Raises AnotherDriver, naming it, when a live driver has the step; DiskReserve when the disk is full.
    """
    workspace.require_disk()
    run = Run(workspace, step, config_hash, detail or {})
    _refuse_if_driven(workspace, f"step = '{step}'")
    run.event(
        "started",
        driver=json.dumps(_myself(), sort_keys=True),
        code_revision=__version__,
        config_hash=config_hash,
        tables_in_json=json.dumps(run.tables_in, sort_keys=True),
        detail_json=json.dumps(run.detail, sort_keys=True),
    )
    return run


def was_torn(workspace: Workspace, step: str) -> bool:
    """True when the last run of the step before now did not end by itself (its last batch may be half committed)."""
    last = workspace.query(
        f"SELECT status FROM runs WHERE step = '{step}' AND status <> 'retracted' ORDER BY started_at DESC, run_id DESC LIMIT 1"
    )
    return bool(last.num_rows) and last["status"][0].as_py() not in ("finished", "paused")


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
