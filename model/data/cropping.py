"""Squares for an autoencoder: from any place of a picture, at any size it has; some with words written over them.

Runs inside a sandbox child, like `framing`. All lots come with the request, so that nothing here remembers or draws any.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from flywheel.images.decode import upright_image
from flywheel.images.header import read_header
from flywheel.images.pixels import over_white
from flywheel.records import Failure
from model.data.framing import FrameContext, Pixels, rgba

TASK, SIZES_TASK = "model.data.cropping:cropped", "model.data.cropping:sized"
_LARGEST = 2.0  # of the wanted side: larger pictures are made that small first. Our choice


@dataclass(frozen=True, slots=True, kw_only=True)
class Square:
    """`place` (x, y) and `size` by lot, 0..1: where, and between the wanted side and the picture's own."""

    data: bytes
    side_px: int
    place: tuple[float, float] = (0.5, 0.5)
    size: float = 0.0


def cropped(square: Square, context: FrameContext) -> Pixels | Failure:
    """(side, side, 3 or 4). Reasons as in `read_header`. Raises MemoryError."""
    side = square.side_px
    finish = rgba if context.alpha else over_white
    decoded = upright_image(square.data, context.budgets, ("RGB", (side * 4, side * 4)), finish)
    if isinstance(decoded, Failure):
        return decoded
    image = decoded[1]
    short = min(image.size)
    wanted = side + square.size * (min(max(short, side), _LARGEST * side) - side)
    window = side * short / wanted  # of the picture's own pixels
    left, top = ((length - window) * at for length, at in zip(image.size, square.place, strict=True))
    box = (left, top, left + window, top + window)
    return np.asarray(image.resize((side, side), Image.Resampling.LANCZOS, box=box))


def sized(data: bytes, context: FrameContext) -> int | Failure:
    """The shorter side, from the header alone."""
    header = read_header(data, context.budgets)
    return header if isinstance(header, Failure) else min(header.width_px, header.height_px)
