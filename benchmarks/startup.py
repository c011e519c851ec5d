"""What it costs to say anything at all."""

from __future__ import annotations

from pathlib import Path

from benchmarks import meter
from benchmarks.figures import Figure, Findings

REPEATS = 5
HELP_S, SQL_S = 0.5, 1.5


def run(place: Path) -> Findings:
    """The help text, and the smallest query over a new workspace."""
    workspace = str(place / "ws")
    meter.run(meter.flywheel("init", "-w", workspace, "--profile", "cpu"))
    told = meter.repeated(REPEATS, lambda: meter.run(meter.flywheel("--help")))
    asked = meter.repeated(REPEATS, lambda: meter.run(meter.flywheel("sql", "select 1", "-w", workspace)))
    figures = [
        Figure(name="`flywheel --help`", measured=told.cpu_s, unit="CPU-s", target=HELP_S, below=True),
        Figure(name="`flywheel --help`, wall", measured=told.wall_s, unit="s"),
        Figure(name="`flywheel sql 'select 1'`", measured=asked.cpu_s, unit="CPU-s", target=SQL_S, below=True),
        Figure(name="`flywheel sql 'select 1'`, wall", measured=asked.wall_s, unit="s"),
    ]
    return Findings(title="Start-up", how=f"User + system, children included, median of {REPEATS}.", figures=figures)
