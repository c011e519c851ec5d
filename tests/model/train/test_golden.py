"""The same twenty steps as on the day that they were written down, to the last bit: what changes a loss is meant to, or is a bug."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest

GOLDEN = Path(__file__).with_name("golden_losses.txt")
PROGRAM = Path(__file__).parents[1] / "golden_run.py"


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the bits written down are those of x86-64")
def test_twenty_steps_lose_what_they_always_lost() -> None:
    told = subprocess.run([sys.executable, PROGRAM], capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
    assert told.stdout == GOLDEN.read_text(), "if it is meant to change: python tests/model/golden_run.py > this file"
