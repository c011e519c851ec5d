"""Twenty steps, their losses to the last bit. Run as a program: `python tests/model/golden_run.py > …/golden_losses.txt`.

Kernels are those that every x86-64 CPU of the last ten years has, on one thread, so that bits are the same on all of them.
"""

from __future__ import annotations

import os
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

PLAINEST = {
    "ATEN_CPU_CAPABILITY": "default",
    "MKL_CBWR": "COMPATIBLE",
    "ONEDNN_MAX_CPU_ISA": "SSE41",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
}


def main() -> None:
    if any(os.environ.get(name) != value for name, value in PLAINEST.items()):
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **PLAINEST})  # before torch looks
    from small_run import RECIPE, trainer

    with tempfile.TemporaryDirectory() as run:
        for told in trainer(Path(run), replace(RECIPE, steps=20)).follow():
            print(told.step, told.loss.hex(), told.gradient_norm.hex())


if __name__ == "__main__":
    main()
