"""How wide the sharpest edges are: blur is told from soft but clean pictures by its edges alone."""

from __future__ import annotations

from typing import Any, cast

import cv2
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from filters.scorers.planes import NativePlanes, Plane, Row, percentile
from filters.scorers.scorer import Scorer
from flywheel.schemas import score_spec

Gradient = npt.NDArray[np.float32]

TILE_PX = 64
TILES = 16
MIN_SIDE_PX = 16
# Training never sees more than this many pixels on the short side at stage 4: blur is counted there,
# so that a 24-megapixel picture is not punished for pixels nobody will look at. Our choice.
REFERENCE_SHORT_SIDE_PX = 1024
# Gradients (levels per px, after smoothing) below this are no edge to judge by, nor those far below the
# strongest of the picture, which are texture and noise. Our choice.
MIN_GRADIENT = 1.5
SHARE_OF_STRONGEST = 0.3
FINE_SIGMA, BROAD_SIGMA = 1.0, 2.0
SEAM_PX = 5
# Edges are ranked by width; this share of the edges is narrower than the answer. Our choice.
NARROWEST = 25.0


def measure(planes: NativePlanes) -> Row:
    """`blur_px`: sigma of the blur of the narrower edges, native pixels; `sharpness`: 1 / (1 + blur at training size).

    An edge blurred by sigma has a peak gradient ~ 1 / sigma; blurring it again by two known sigmas a < b gives
    the ratio r^2 = (sigma^2 + a^2) / (sigma^2 + b^2), solved for sigma (Zhuo and Sim, "Defocus map estimation
    from a single image", Pattern Recognition 44(9), 2011). None where there is no edge.
    """
    if min(planes.luma.shape) < MIN_SIDE_PX:
        return {"sharpness": None, "blur_px": None}
    edges = edge_widths(liveliest_tiles(planes))
    if edges.size < 16:
        return {"sharpness": None, "blur_px": None}
    blur_px = percentile(edges, NARROWEST)
    shrink = min(1.0, REFERENCE_SHORT_SIDE_PX / min(planes.luma.shape))
    return {"sharpness": 1 / (1 + blur_px * shrink), "blur_px": blur_px}


def liveliest_tiles(planes: NativePlanes) -> list[Plane]:
    """Up to 16 tiles of 64 x 64 native px with the strongest steps at quarter size."""
    luma = planes.luma
    steps = cv2.morphologyEx(planes.quarter, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
    tile = TILE_PX // 4
    rows, columns = max(1, steps.shape[0] // tile), max(1, steps.shape[1] // tile)
    strength: npt.NDArray[np.float32] = cv2.resize(steps, (columns, rows), interpolation=cv2.INTER_AREA).ravel()
    order = np.argsort(-strength.astype(np.int32), kind="stable")[:TILES]
    corners = [(int(i) // columns * TILE_PX, int(i) % columns * TILE_PX) for i in order]
    return [luma[y : y + TILE_PX, x : x + TILE_PX] for y, x in corners]


def edge_widths(tiles: list[Plane]) -> npt.NDArray[np.float64]:
    """Sigma of the blur at each edge pixel: local maxima of the gradient, not far below the strongest.

    The tiles (of one shape) are stacked and filtered at once; their seams are left out.
    """
    height = tiles[0].shape[0]
    stack = np.concatenate(tiles).astype(np.float32)
    fine, broad = _gradient(stack, FINE_SIGMA), _gradient(stack, BROAD_SIGMA)
    seam = np.arange(stack.shape[0]) % height
    fine[(seam < SEAM_PX) | (seam >= height - SEAM_PX)] = 0
    floor = max(MIN_GRADIENT, SHARE_OF_STRONGEST * float(fine.max()))
    peak = (fine >= floor) & (fine >= cv2.dilate(fine, np.ones((3, 3), np.uint8)))
    top, bottom = fine[peak].astype(np.float64), broad[peak].astype(np.float64)
    ratio = np.clip((bottom / np.maximum(top, 1e-6)) ** 2, 0.0, 0.995)
    a, b = FINE_SIGMA**2, BROAD_SIGMA**2
    return cast("npt.NDArray[np.float64]", np.sqrt(np.maximum(ratio * b - a, 0.0) / (1 - ratio)))


def _gradient(plane: Gradient, sigma: float) -> Gradient:
    """Gradient magnitude per pixel, in levels."""
    smooth: Any = cv2.GaussianBlur(plane, (0, 0), sigma)
    dx: Any = cv2.Sobel(smooth, cv2.CV_32F, 1, 0, scale=0.125)
    dy: Any = cv2.Sobel(smooth, cv2.CV_32F, 0, 1, scale=0.125)
    return cast(Gradient, cv2.magnitude(dx, dy))


SCORER = Scorer(
    name="sharpness",
    version="sharpness-1",
    reads="native",
    table=score_spec("sharpness", "width of the sharpest edges", {"sharpness": pa.float64(), "blur_px": pa.float64()}),
    measure=measure,
    says="1 / (1 + sigma of the blur at the narrower edges, at a short side of at most 1024 px)",
)
