"""The most a worker's child holds while it decodes and measures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import psutil
from PIL import Image

from benchmarks import inputs
from benchmarks.figures import Figure, Findings
from benchmarks.speed import INGEST, MEASURE, items, measured_items
from flywheel.images.sandbox import Sandbox
from flywheel.records import Failure

IMAGES = 200
TARGET_MB = 400.0
LARGE = (6000, 4000)
OCR_TRIED = (
    "OCR misses the limit: the detector's activations over a page of one megapixel. Tried on 70 real pages: freeing every block above "
    "4 MB to the kernel at once brings a quarter to a third less memory (412 MB here) for a fifth more time; pages of 0.8 megapixels or "
    "detection at 960 px bring a tenth to a fifth less memory and lose 0.3 to 1.8 % of the letters. Time and letters were preferred; before "
    "(every page enlarged to 736 px, lines in batches) the peak was 1,086 MB."
)


def run(place: Path) -> Findings:
    """Ordinary pictures and one of a 24-megapixel camera, through both passes."""
    paths = inputs.photos(place / "photos", IMAGES)
    large = place / "large.jpg"
    Image.open(paths[0]).resize(LARGE, Image.Resampling.BICUBIC).save(large, quality=92)
    figures = [
        _figure("scaled pass, 1.2 megapixels", "pipelines.decoding:ingest_item", items(paths), INGEST),
        _figure(
            "native pass, 1.2 megapixels", "pipelines.decoding:native_item", measured_items(paths, "native"), MEASURE
        ),
        _figure("scaled pass, 24 megapixels", "pipelines.decoding:ingest_item", items([large] * 8), INGEST),
        _figure(
            "native pass, 24 megapixels",
            "pipelines.decoding:native_item",
            measured_items([large] * 8, "native"),
            MEASURE,
        ),
        _figure(
            "OCR pass, 1.2 megapixels",
            "pipelines.decoding:ocr_item",
            measured_items(paths[:8], "ocr"),
            MEASURE,
        ),
    ]
    how = (
        f"High-water mark of the resident set (VmHWM) of the decode child, {IMAGES} generated JPEGs, 8 times one of {LARGE[0]} x {LARGE[1]} px. "
        "The thread that drives a child is in the driver's own process."
    )
    return Findings(title="Memory of a local worker", how=how, figures=figures, below=[OCR_TRIED])


def _figure(name: str, task: str, todo: Sequence[object], context: object) -> Figure:
    before = {child.pid for child in psutil.Process().children()}
    with Sandbox[object, object](task, memory_bytes=None, item_s=120.0, context=context) as box:
        failed = sum(isinstance(answer, Failure) for answer in box.run(todo))
        (child,) = [child.pid for child in psutil.Process().children() if child.pid not in before]
        peak = _high_water_mb(child)
    if failed:
        raise AssertionError(f"{failed} of {len(todo)} images of the benchmark failed")
    return Figure(name=name, measured=peak, unit="MB", target=TARGET_MB, below=True)


def _high_water_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024
