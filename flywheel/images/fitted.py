"""The picture as a model wants it: upright, over white, resized in one step to the size that its weights were trained at."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image

from flywheel.images.decode import upright_image
from flywheel.images.pixels import over_white
from flywheel.images.views import RGB
from flywheel.records import Budgets, Failure

# A JPEG may be scaled while it decodes, as long as so many times the wanted size is left for the real resizing. Our choice.
_ROOM = 2
_LOSSLESS_PIXELS, _QUALITY = 256 * 256, 92  # our choice: letters stay crisp at either
_FILTERS = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """How open_clip names it: `squash` to a square, or the `shortest` side to the square's and its middle cut out."""

    side_px: int
    how: Literal["squash", "shortest"]
    filter: str = "bicubic"


def fitted_view(data: bytes, budgets: Budgets, fit: Fit) -> RGB | Failure:
    """(side_px, side_px, 3). Reasons as in `read_header`. Raises MemoryError."""
    image = _small(data, budgets, fit.side_px)
    if isinstance(image, Failure):
        return image
    size = (fit.side_px, fit.side_px) if fit.how == "squash" else _shortest(image.size, fit.side_px)
    resized = image.resize(size, _FILTERS[fit.filter]) if image.size != size else image
    left, top = round((size[0] - fit.side_px) / 2), round((size[1] - fit.side_px) / 2)
    return np.asarray(resized.crop((left, top, left + fit.side_px, top + fit.side_px)))


def sent_view(data: bytes, budgets: Budgets, max_pixels: int) -> bytes | Failure:
    """The picture as it is sent to a model: a PNG of at most so many pixels, in its own aspect ratio.

    What is larger is sent as a JPEG instead, which a reading model does not mind and a network does.
    """
    image = _small(data, budgets, round(max_pixels**0.5))
    if isinstance(image, Failure):
        return image
    shrink = (max_pixels / (image.width * image.height)) ** 0.5
    if shrink < 1:
        size = max(1, int(image.width * shrink)), max(1, int(image.height * shrink))
        image = image.resize(size, Image.Resampling.BICUBIC)
    held = io.BytesIO()
    if image.width * image.height <= _LOSSLESS_PIXELS:
        image.save(held, "PNG", compress_level=1)
    else:
        image.save(held, "JPEG", quality=_QUALITY, subsampling=0)
    return held.getvalue()


def _small(data: bytes, budgets: Budgets, side_px: int) -> Image.Image | Failure:
    room = _ROOM * side_px
    decoded = upright_image(data, budgets, ("RGB", (room, room)), over_white)
    return decoded if isinstance(decoded, Failure) else decoded[1]


def _shortest(size: tuple[int, int], side_px: int) -> tuple[int, int]:
    """As torchvision's Resize: the short side exactly, the other in proportion, cut to whole pixels."""
    width, height = size
    if width <= height:
        return side_px, int(side_px * height / width)
    return int(side_px * width / height), side_px
