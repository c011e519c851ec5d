"""What one more image costs as a workspace grows: ingest from a thousand to a hundred thousand images."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np

from benchmarks import inputs, meter
from benchmarks.figures import RESULTS, Figure, Findings

SIZES = (1_000, 3_000, 10_000, 30_000, 100_000)
# FLYWHEEL_BENCH_IMAGES=30000 stops earlier where time is short.
LARGEST = int(os.environ.get("FLYWHEEL_BENCH_IMAGES", str(SIZES[-1])))
THRICE = 10_000  # up to here each size runs three times, above it once
# Linear: the exponent of cost against size stays at one, give or take noise; and no thousand costs much more
# at the largest size than at the smallest. Our choice.
MAX_EXPONENT = 1.05
MAX_RATIO = 1.25


def run(place: Path) -> Findings:
    """A fresh workspace a size; the plot goes beside the results."""
    costs: dict[int, meter.Cost] = {}
    for size in [size for size in SIZES if size <= LARGEST]:
        folder = place / str(size)
        inputs.small(folder, size)
        costs[size] = meter.repeated(3 if size <= THRICE else 1, lambda folder=folder: _ingest(place, folder))  # type: ignore[misc]
        shutil.rmtree(folder)
    sizes = np.array(list(costs), float)
    cpu = np.array([cost.cpu_s for cost in costs.values()])
    exponent = float(np.polyfit(np.log(sizes), np.log(cpu), 1)[0])
    per_thousand = cpu / sizes * 1000
    picture = RESULTS / "scale.png"
    _plot(sizes, per_thousand, picture)
    figures = [
        Figure(
            name=f"ingest of {size:,} images",
            measured=cost.cpu_s / size * 1000,
            unit="CPU-s / 1000 images",
            note=f"{cost.cpu_s:.1f} CPU-s, {cost.wall_s:.1f} s wall, peak {cost.peak_mb:.0f} MB in all processes",
        )
        for size, cost in costs.items()
    ]
    figures += [
        Figure(name="exponent of cost against size", measured=exponent, unit="", target=MAX_EXPONENT, below=True),
        Figure(
            name="cost of an image at the largest size against 1,000",
            measured=float(per_thousand[-1] / per_thousand[0]),
            unit="x",
            target=MAX_RATIO,
            below=True,
        ),
    ]
    how = (
        "`flywheel ingest` of distinct generated JPEGs of 96 px into a fresh workspace, start-up included, all processes counted. "
        f"Median of three up to {THRICE:,} images, one run above."
    )
    unrun = [size for size in SIZES if size > LARGEST]
    left = (
        [f"Not run at {', '.join(f'{size:,}' for size in unrun)}: `python -m benchmarks scale` runs them."]
        if unrun
        else []
    )
    return Findings(
        title="Cost against size",
        how=how,
        figures=figures,
        below=[f"![CPU seconds per 1000 images]({picture.name})", *left],
    )


def _ingest(place: Path, folder: Path) -> meter.Cost:
    workspace = place / "ws"
    shutil.rmtree(workspace, ignore_errors=True)
    meter.run(meter.flywheel("init", "-w", str(workspace), "--profile", "cpu"))
    return meter.run(meter.flywheel("ingest", str(folder), "-w", str(workspace)))


def _plot(sizes: np.ndarray, per_thousand: np.ndarray, path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4))
    axes.plot(sizes, per_thousand, marker="o")
    axes.set_xscale("log")
    axes.set_xlabel("images ingested")
    axes.set_ylabel("CPU seconds per 1000 images")
    axes.set_ylim(0, float(per_thousand.max()) * 1.2)
    axes.grid(alpha=0.3)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
