"""Processor seconds, wall seconds and memory of commands and functions.

Processor seconds are user + system of the whole process tree: on a machine that is shared they say what the
work costs, where wall time says who else was busy.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import psutil

T = TypeVar("T")

_SAMPLE_S = 0.05
_MEBIBYTE = 1 << 20


class CommandFailed(Exception):
    """A command that a figure needs ended badly; the message is the end of what it said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one run took. `peak_mb` is that of the whole tree: the largest sum of resident sets seen."""

    cpu_s: float
    wall_s: float
    peak_mb: float
    output: str


def flywheel(*arguments: str) -> list[str]:
    """The command line of the program that belongs to this interpreter."""
    return [str(Path(sys.executable).parent / "flywheel"), *arguments]


def run(command: Sequence[str], env: Mapping[str, str] | None = None, cwd: Path | None = None) -> Cost:
    """Run to the end, watching. Raises CommandFailed."""
    with tempfile.TemporaryFile() as said:
        began = time.monotonic()
        process = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT, env=env, cwd=cwd)
        watched = psutil.Process(process.pid)
        peak = 0
        while True:
            peak = max(peak, _resident(watched))
            pid, status, used = os.wait4(process.pid, os.WNOHANG)
            if pid:
                break
            time.sleep(_SAMPLE_S)
        wall_s = time.monotonic() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        output = said.read().decode(errors="replace")
    if process.returncode:
        raise CommandFailed(f"{Path(command[0]).name} {' '.join(command[1:3])}: {output.strip()[-400:]}")
    return Cost(cpu_s=used.ru_utime + used.ru_stime, wall_s=wall_s, peak_mb=peak / _MEBIBYTE, output=output)


def _resident(root: psutil.Process) -> int:
    total = 0
    with suppress(psutil.Error):
        for process in [root, *root.children(recursive=True)]:
            with suppress(psutil.Error):
                total += process.memory_info().rss
    return total


def repeated(count: int, once: Callable[[], Cost]) -> Cost:
    """The run of the median processor time; its wall time and memory are its own."""
    return sorted((once() for _ in range(count)), key=lambda cost: cost.cpu_s)[count // 2]


def cpu_now() -> float:
    """Processor seconds of this process and of its children that have ended."""
    own, ended = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + ended.ru_utime + ended.ru_stime


def seconds(count: int, function: Callable[[], object]) -> tuple[float, float]:
    """Median processor and wall seconds of a call."""
    cpu, wall = [], []
    for _ in range(count):
        began_cpu, began = cpu_now(), time.monotonic()
        function()
        cpu.append(cpu_now() - began_cpu)
        wall.append(time.monotonic() - began)
    return statistics.median(cpu), statistics.median(wall)


def machine() -> str:
    """The machine as far as figures depend on it: cores, architecture, processor model."""
    model = "unknown processor"
    with suppress(OSError), open("/proc/cpuinfo") as lines:
        model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), model)
    cores, kind = os.cpu_count(), os.uname().machine.replace("_", "-")
    return f"{cores}-core {kind} VM, {model}"
