"""What several scorers need from one decode, computed once: luma, gradients, the text mask.

Planes are lazy: a pass that asks for the JPEG quality alone never makes a luma plane.
All arithmetic is 8- or 16-bit where OpenCV can: the scaled pass has about a millisecond for everything.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, cast

import cv2
import numpy as np
import numpy.typing as npt

from flywheel.images.views import LumaView, ScaledView

Plane = npt.NDArray[np.uint8]
Value = float | int | str | bytes | list[int] | None
Row = dict[str, Value]

# A worker is one process of one thread; OpenCV's own pool would fight its siblings for cores.
cv2.setNumThreads(1)
# IPP's float filters differ in their last bits with the alignment of a buffer: the same picture would measure
# differently from run to run.
cv2.ipp.setUseIPP(False)

# Steps of up to 3 of 255 are what JPEG and sensors leave on a wall or a page: still flat. Our choice.
FLAT_STEP = 3
# A stroke on paper or a printed letter is a step of at least this much over one or two pixels. Our choice.
STROKE_STEP = 40
CELL_PX = 8
BASE_PX = 96
BINS = 256


def luma_of(rgb: npt.NDArray[np.uint8]) -> Plane:
    """Rec. 601 luma, 0..255."""
    return cast(Plane, cv2.cvtColor(np.ascontiguousarray(rgb), cv2.COLOR_RGB2GRAY))


def histogram(plane: Plane) -> npt.NDArray[np.float64]:
    """Counts of the 256 values of a plane."""
    counts: Any = cv2.calcHist([plane], [0], None, [BINS], [0, BINS])
    return np.asarray(counts, dtype=np.float64).ravel()


def entropy_bits(counts: npt.NDArray[np.float64]) -> float:
    """Shannon entropy of a histogram, in bits."""
    share = counts[counts > 0] / counts.sum()
    return float(-(share * np.log2(share)).sum()) + 0.0


def shrunk(plane: npt.NDArray[np.uint8], factor: int) -> npt.NDArray[np.uint8]:
    """Means over squares of `factor` px (a power of two), rounded at each halving: OpenCV has SIMD for 2 x 2 alone.

    What is left of a side beyond whole squares is cut off; a side shorter than one square keeps one value.
    """
    height, width = plane.shape[:2]
    rows, columns = max(1, height // factor), max(1, width // factor)
    plane = plane[: rows * factor, : columns * factor]
    if min(height, width) < factor:
        return cast(Plane, cv2.resize(plane, (columns, rows), interpolation=cv2.INTER_AREA))
    while factor > 1:
        factor //= 2
        plane = cast(Plane, cv2.resize(plane, (columns * factor, rows * factor), interpolation=cv2.INTER_AREA))
    return plane


def percentile(values: npt.NDArray[Any], percent: float) -> float:
    """Linear between neighbours, as numpy's own, at a fifth of its cost for the small arrays here."""
    ordered = np.sort(values)
    place = percent / 100 * (ordered.size - 1)
    low = int(place)
    high = min(low + 1, ordered.size - 1)
    return float(ordered[low] + (ordered[high] - ordered[low]) * (place - low))


def cells(mask: Plane) -> npt.NDArray[np.float32]:
    """Mean of a 0/255 mask over 8 x 8 cells, 0..1; at least one cell a side."""
    return shrunk(mask, CELL_PX).astype(np.float32) * np.float32(1 / 255)


def above(plane: Plane, level: int) -> Plane:
    """255 where the plane is larger than `level`, else 0."""
    return cast(Plane, cv2.threshold(plane, level, 255, cv2.THRESH_BINARY)[1])


class ScaledPlanes:
    """The shared intermediates of the scaled pass."""

    def __init__(self, view: ScaledView) -> None:
        self.view = view

    @cached_property
    def luma(self) -> Plane:
        return luma_of(self.view.rgb)

    @cached_property
    def steps(self) -> Plane:
        """Largest difference inside each 3 x 3 neighbourhood: the size of the local step, 0..255."""
        return cast(Plane, cv2.morphologyEx(self.luma, cv2.MORPH_GRADIENT, _SQUARE))

    @cached_property
    def step_counts(self) -> npt.NDArray[np.float64]:
        return histogram(self.steps[::2])

    @cached_property
    def base(self) -> Plane:
        """The whole picture squeezed to 96 x 96: what hashes and thumbnails are made of."""
        luma = shrunk(self.luma, 2) if min(self.luma.shape) >= 2 * BASE_PX else self.luma
        return cast(Plane, cv2.resize(luma, (BASE_PX, BASE_PX), interpolation=cv2.INTER_AREA))

    @cached_property
    def quarter_rgb(self) -> npt.NDArray[np.uint8]:
        """Colour at a quarter of the side."""
        return shrunk(self.view.rgb, 4)

    @cached_property
    def flat_cells(self) -> npt.NDArray[np.float32]:
        """Share of flat pixels in each 8 x 8 cell."""
        return cells(255 - above(self.steps, FLAT_STEP))

    @cached_property
    def stroke_cells(self) -> npt.NDArray[np.float32]:
        """Share of pixels beside a strong step in each 8 x 8 cell."""
        return cells(above(self.steps, STROKE_STEP))


class NativePlanes:
    """The shared intermediates of the native pass."""

    def __init__(self, view: LumaView) -> None:
        self.luma = view.luma

    @cached_property
    def quarter(self) -> Plane:
        """Luma at a quarter of the side: where to look, not what to measure."""
        return shrunk(self.luma, 4)


_SQUARE = np.ones((3, 3), np.uint8)
