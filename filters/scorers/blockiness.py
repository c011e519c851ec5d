"""The 8 x 8 grid that over-compression leaves, also after the picture was saved as something else."""

from __future__ import annotations

from statistics import median
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from filters.scorers.planes import NativePlanes, Plane, Row, percentile
from filters.scorers.scorer import Scorer
from flywheel.schemas import score_spec

BLOCK_PX = 8
MIN_SIDE_PX = 4 * BLOCK_PX
# A step above this is an edge of the picture, not of a block: it counts as this much. Our choice.
STEP_CAP = 20
# Of 255: keeps the ratio finite on pictures that are flat between the block borders. Our choice.
FLOOR = 0.35
# Coefficients below this are rounding, colour conversion and a second, mild compression. Our choice.
ROUNDING = 3.0
# A quantiser step of this much above rounding weighs as much as a grid that doubles the steps. Our choice.
STEP_UNIT = 25.0
SAMPLED_BLOCKS = 2_000
# The grid is everywhere: so many bands of so many lines show it as well as the whole picture does. Our choice.
BANDS, BAND_LINES = 8, 64
MIN_COEFFICIENTS = 24
LOWEST_PERCENT = 5.0
# Low frequencies (vertical, horizontal) that even quality 4 does not wipe out.
FREQUENCIES = ((0, 1), (1, 0), (1, 1), (0, 2), (2, 0))


def _basis() -> npt.NDArray[np.float32]:
    """64 x 5: the DCT basis pictures of FREQUENCIES, orthonormal, so that coefficients are JPEG's own."""
    x = np.arange(BLOCK_PX)
    waves = [np.cos((2 * x + 1) * k * np.pi / 16) * (0.5 if k else np.sqrt(1 / 8)) for k in range(3)]
    return np.stack([np.outer(waves[v], waves[h]).ravel() for v, h in FREQUENCIES], axis=1).astype(np.float32)


BASIS = _basis()


def banded(plane: Plane, axis: int) -> Plane:
    """Lines along the other axis: all of them, or even bands of them where there are more."""
    lines = plane.shape[axis]
    if lines <= BANDS * BAND_LINES:
        return plane
    starts = np.linspace(0, lines - BAND_LINES, BANDS).astype(int)
    bands = [plane[s : s + BAND_LINES] if axis == 0 else plane[:, s : s + BAND_LINES] for s in starts]
    return np.concatenate(bands, axis=axis)


def grid_excess(steps: Plane, axis: int) -> tuple[float, int]:
    """How much larger steps are at one place in eight than at the others, and where blocks begin (0..7).

    `steps` are absolute differences of neighbours; `axis` is the one that is averaged away. 0 = no grid.
    """
    _, capped = cv2.threshold(steps, STEP_CAP, 0, cv2.THRESH_TRUNC)
    means: Any = cv2.reduce(capped, axis, cv2.REDUCE_AVG, dtype=cv2.CV_32F)
    profile: npt.NDArray[np.float32] = means.ravel()
    phases = profile[: profile.size // BLOCK_PX * BLOCK_PX].reshape(-1, BLOCK_PX).mean(axis=0)
    phase = int(phases.argmax())
    rest = float(np.delete(phases, phase).mean())
    return (float(phases[phase]) - rest) / (rest + FLOOR), (phase + 1) % BLOCK_PX


def quantiser_step(luma: Plane, top: int, left: int) -> float | None:
    """The step to which low-frequency DCT coefficients were once rounded, in JPEG's units.

    After quantisation no coefficient lies between rounding noise and one step (Fan and de Queiroz,
    "Identification of bitmap compression history", IEEE TIP 12(2), 2003): the smallest ones that are left
    tell the step. Untouched pictures give about ROUNDING. None where too few blocks have any content.
    """
    rows, columns = (luma.shape[0] - top) // BLOCK_PX, (luma.shape[1] - left) // BLOCK_PX
    stride = max(1, int(np.sqrt(rows * columns / SAMPLED_BLOCKS)))
    grid = luma[top : top + rows * BLOCK_PX, left : left + columns * BLOCK_PX]
    blocks = grid.reshape(rows, BLOCK_PX, columns, BLOCK_PX)[::stride, :, ::stride].transpose(0, 2, 1, 3)
    sizes = np.abs(BASIS.T @ blocks.reshape(-1, BLOCK_PX * BLOCK_PX).astype(np.float32).T)
    found = [row[row > ROUNDING] for row in sizes]
    lowest = [percentile(row, LOWEST_PERCENT) for row in found if row.size >= MIN_COEFFICIENTS]
    return median(lowest) if lowest else None


def measure(planes: NativePlanes) -> Row:
    """`grid_excess` is the weaker of the two axes: a real grid shows on both. All None below 32 px a side.

    `blockiness` adds both signs: the worst qualities show a grid, milder ones leave empty gaps between coefficients,
    on that grid alone: black-and-white pages have gaps wherever one looks.
    """
    luma = planes.luma
    if min(luma.shape) < MIN_SIDE_PX:
        return {"blockiness": None, "grid_excess": None, "quantiser_step": None}
    rows, columns = banded(luma, 0), banded(luma, 1)
    across, left = grid_excess(cv2.absdiff(rows[:, 1:], rows[:, :-1]), 0)
    down, top = grid_excess(cv2.absdiff(columns[1:], columns[:-1]), 1)
    excess, step = min(across, down), quantiser_step(luma, top, left)
    beside = quantiser_step(luma, (top + BLOCK_PX // 2) % BLOCK_PX, (left + BLOCK_PX // 2) % BLOCK_PX)
    gap = max(0.0, step - beside) if step is not None and beside is not None else 0.0
    return {"blockiness": excess + gap / STEP_UNIT, "grid_excess": excess, "quantiser_step": step}


SCORER = Scorer(
    name="blockiness",
    version="blockiness-1",
    reads="native",
    table=score_spec(
        "blockiness",
        "the 8 x 8 grid of over-compression and the step it was rounded to",
        {"blockiness": pa.float64(), "grid_excess": pa.float64(), "quantiser_step": pa.float64()},
    ),
    measure=measure,
    says="signs of over-compression: steps across the 8 px grid beyond those beside it, and the grid's quantiser step",
)
