"""Sensor noise, read where the picture itself is flat."""

from __future__ import annotations

from typing import Any, cast

import cv2
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from filters.scorers.planes import NativePlanes, Plane, Row, percentile
from filters.scorers.scorer import Scorer
from flywheel.schemas import score_spec

TILE_PX = 32
TILES = 24
MIN_SIDE_PX = 16
# Saturated tiles hide their noise: the mean must keep this distance from 0 and 255. Our choice.
MARGIN = 12
# J. Immerkaer, "Fast noise variance estimation", CVIU 64(2), 1996: a mask that no plane or edge of
# second order passes; the expected absolute response to noise of sigma 1 is 6 sqrt(2 / pi).
MASK = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
# A tile that varies more than this at a quarter of the size is texture or text, not noise. Our choice:
# averaging 16 pixels leaves a quarter of even heavy noise.
FLAT_SPREAD = 10.0
# Noise is everywhere alike, texture is not: the quieter tiles tell. Our choice.
QUIETER_PERCENT = 25.0
UNIT = float(np.sqrt(np.pi / 2) / 6)


def measure(planes: NativePlanes) -> Row:
    """Sigma on the quieter of the flattest tiles, in 8-bit units. None where nothing is flat and unsaturated."""
    tiles = flattest_tiles(planes)
    return {"sigma": percentile(sigmas(tiles), QUIETER_PERCENT) if tiles and min(tiles[0].shape) >= 8 else None}


def flattest_tiles(planes: NativePlanes) -> list[Plane]:
    """Up to 24 tiles of 32 x 32 native px whose quarter-size picture varies least."""
    luma, small = planes.luma, planes.quarter
    if min(luma.shape) < MIN_SIDE_PX:
        return []
    tile = TILE_PX // 4
    rows, columns = max(1, small.shape[0] // tile), max(1, small.shape[1] // tile)
    blocks = _blocks(small, rows, columns, tile)
    mean, spread = blocks.mean(axis=2).ravel(), blocks.std(axis=2).ravel()
    spread[(mean < MARGIN) | (mean > 255 - MARGIN) | (spread > FLAT_SPREAD)] = np.inf
    order = np.argsort(spread, kind="stable")[:TILES]
    corners = [(int(i) // columns * TILE_PX, int(i) % columns * TILE_PX) for i in order if np.isfinite(spread[i])]
    return [luma[y : y + TILE_PX, x : x + TILE_PX] for y, x in corners]


def _blocks(small: Plane, rows: int, columns: int, tile: int) -> npt.NDArray[np.float32]:
    """rows x columns x pixels; a picture smaller than a tile is one block."""
    if small.shape[0] < tile or small.shape[1] < tile:
        small = np.asarray(cv2.resize(small, (columns * tile, rows * tile)))
    cut = small[: rows * tile, : columns * tile].astype(np.float32)
    return cut.reshape(rows, tile, columns, tile).transpose(0, 2, 1, 3).reshape(rows, columns, tile * tile)


def sigmas(tiles: list[Plane]) -> npt.NDArray[np.float32]:
    """Sigma of each tile (all of one shape): stacked and filtered at once, without the seams."""
    height, width = tiles[0].shape
    response: Any = cv2.filter2D(np.concatenate(tiles), cv2.CV_32F, MASK)
    inner = np.abs(response.reshape(len(tiles), height, width)[:, 1:-1, 1:-1])
    return cast("npt.NDArray[np.float32]", UNIT * inner.mean(axis=(1, 2)))


SCORER = Scorer(
    name="noise",
    version="noise-1",
    reads="native",
    table=score_spec("noise", "sensor noise in 8-bit units", {"sigma": pa.float64()}),
    measure=measure,
    says="sigma of the noise on the flattest tiles, in levels of 255",
)
