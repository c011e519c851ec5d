"""What the duplicate search reads: a perceptual hash, keys to look it up by, and small pictures to prove it by."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import product
from typing import cast

import cv2
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from filters.scorers.planes import BASE_PX, Plane, Row, ScaledPlanes, shrunk
from filters.scorers.scorer import Scorer
from filters.scorers.text_density import text_density
from flywheel.schemas import score_spec

Squares = npt.NDArray[np.float32]

THUMB_PX = 32
CHROMA_PX = 8
# From this density on the fine thumbnail is kept: posters differ by a title that 32 px do not show. Our choice.
TEXT_DENSITY = 0.06
# Low frequencies first (radius in the DCT plane), without the mean: the order in which crops disturb them.
FREQUENCIES = np.array(
    sorted(((v, h) for v, h in product(range(8), repeat=2) if v + h), key=lambda f: (f[0] ** 2 + f[1] ** 2, f))
)
ORDER = FREQUENCIES @ (8, 1)
BITS = 1 << np.arange(len(FREQUENCIES))
# Keys: the signs of the lowest frequencies of the whole picture and of five virtual crops (5 % off each side, and
# 5 % of each length off at one of the four corners, in pixels of the base), and of the four quarters (an overlay in one
# corner leaves three of them alone). The weakest signs are stored both ways. Of 1,084 random 5 % crops of 271 real
# and planted pictures 1,076 share a key with the whole; with the whole and two centre crops it was 1,072, for as
# many keys.
FRAME_PX = 5
FRAMES = (
    (slice(None), slice(None)),
    (slice(FRAME_PX, -FRAME_PX), slice(FRAME_PX, -FRAME_PX)),
    *product((slice(FRAME_PX, None), slice(-FRAME_PX)), repeat=2),
)
FRAME_SIGNS, FRAME_WEAK = 24, 2
QUARTER_SIGNS, QUARTER_WEAK = 20, 2
# A picture or quarter of less contrast than this (levels) is a blank: its signs are noise. Our choice.
MIN_CONTRAST = 3.0
KIND_SHIFT = 40


@cache
def _waves(length: int) -> npt.NDArray[np.float32]:
    """8 x length: the lowest orthonormal DCT-II waves."""
    x = np.arange(length)
    waves = np.cos((2 * x + 1) * np.arange(8)[:, None] * np.pi / (2 * length)) * np.sqrt(2 / length)
    waves[0] *= np.sqrt(0.5)
    return cast(Squares, waves.astype(np.float32))


def dct(squares: Squares) -> Squares:
    """The 8 x 8 low-frequency corners of the DCT of n squares."""
    waves = _waves(squares.shape[-1])
    return np.asarray(waves @ squares @ waves.T, np.float32)


def phash(coefficients: Squares) -> int:
    """The classic 64-bit DCT hash (C. Zauner, 2010), as the signed integer of its bit pattern."""
    flat = coefficients.ravel()
    bits = np.packbits(flat > np.median(flat[1:]))
    return int.from_bytes(bits.tobytes(), "big", signed=True)


def keys_of(corners: Squares, signs: int, weak: int, kinds: Sequence[int]) -> list[int]:
    """2**weak look-up keys for each of n corners: the signs of the lowest frequencies, the weakest both ways."""
    values = corners.reshape(len(corners), -1)[:, ORDER[:signs]]
    base = (values > 0) @ BITS[:signs] | np.array(kinds) << KIND_SHIFT
    flips = BITS[np.argsort(np.abs(values), axis=1, kind="stable")[:, :weak]]
    return cast("list[int]", (base[:, None] ^ flips @ _choices(weak)).ravel().tolist())


@cache
def _choices(weak: int) -> npt.NDArray[np.int64]:
    """weak x 2**weak: every way to flip some of the weakest signs."""
    return np.array(list(product((0, 1), repeat=weak))).T


def lookup_keys(base: Plane) -> list[int]:
    """Every key of a 96 x 96 picture, sorted; none for a blank one."""
    found: set[int] = set()
    picture = base.astype(np.float32)
    if contrast(base) >= MIN_CONTRAST:
        corners = np.concatenate([dct(picture[at][None]) for at in FRAMES])
        found.update(keys_of(corners, FRAME_SIGNS, FRAME_WEAK, [0] * len(FRAMES)))
    half = BASE_PX // 2
    places = [(y, x) for y in (slice(half), slice(half, None)) for x in (slice(half), slice(half, None))]
    lively = [place for place, at in enumerate(places) if contrast(base[at]) >= MIN_CONTRAST]
    if lively:
        quarters = np.stack([picture[places[place]] for place in lively])
        found.update(keys_of(dct(quarters), QUARTER_SIGNS, QUARTER_WEAK, [1 + place for place in lively]))
    return sorted(found)


def contrast(plane: Plane) -> float:
    """Standard deviation, in levels."""
    return float(cv2.meanStdDev(plane)[1][0, 0])


def measure(planes: ScaledPlanes) -> Row:
    """`thumb`: 32 x 32 luma, then 8 x 8 Cb and Cr; `fine`: 96 x 96 luma of text-dense pictures, else None."""
    small = cv2.resize(planes.quarter_rgb, (CHROMA_PX, CHROMA_PX), interpolation=cv2.INTER_AREA)
    colour = cv2.cvtColor(small, cv2.COLOR_RGB2YCrCb)
    thumb = shrunk(planes.base, BASE_PX // THUMB_PX)
    return {
        "phash": phash(dct(planes.base.astype(np.float32)[None])[0]),
        "keys": lookup_keys(planes.base),
        "thumb": thumb.tobytes() + colour[..., 2].tobytes() + colour[..., 1].tobytes(),
        "fine": planes.base.tobytes() if text_density(planes) >= TEXT_DENSITY else None,
    }


SCORER = Scorer(
    name="phash",
    version="phash-1",
    reads="scaled",
    table=score_spec(
        "phash",
        "perceptual hash, look-up keys, and the small pictures that prove a duplicate",
        {"phash": pa.int64(), "keys": pa.list_(pa.int64()), "thumb": pa.binary(), "fine": pa.binary()},
    ),
    measure=measure,
    says="64-bit DCT hash, duplicate look-up keys, 32 px thumbnail with chroma, 96 px one where text-dense",
)
