"""kill -9 at fifty random points of the main job: the tests that count it, with more points than usual."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from benchmarks import meter
from benchmarks.figures import Figure, Findings

POINTS = 50
TESTS = Path(__file__).parents[1] / "tests" / "pipelines" / "test_killed.py"


def run(place: Path) -> Findings:
    """Raises CommandFailed, naming the seed, when tables differ after a kill."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        str(TESTS),
        "-m",
        "slow",
        "-p",
        "no:cacheprovider",
        f"--basetemp={place}/t",
    ]
    cost = meter.run(command, os.environ | {"FLYWHEEL_KILLS": str(POINTS)}, TESTS.parents[2])
    passed = re.search(r"(\d+) passed", cost.output)
    figures = [
        Figure(
            name="kill tests passed",
            measured=int(passed.group(1)) if passed else 0,
            unit="tests",
            target=POINTS,
            note="one a point, and the Ray executor's; each holds every table to an undisturbed run's",
        ),
        Figure(name="their cost", measured=cost.cpu_s, unit="CPU-s"),
    ]
    return Findings(
        title="Kills",
        how=f"SIGKILL to the driver at {POINTS} random points, then the same command again.",
        figures=figures,
    )
