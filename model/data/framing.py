"""From bytes to the frame that is trained on: upright, cropped to its bucket in the middle, resized in one step.

Runs inside a sandbox child (`flywheel.images.sandbox`): bytes of pictures are from outside.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from flywheel.buckets import bucket_sides_px, frame, resolution_px
from flywheel.images.decode import upright_image
from flywheel.images.header import read_header
from flywheel.images.pixels import over_white
from flywheel.images.sandbox import Sandbox
from flywheel.records import Budgets, Failure

Pixels = npt.NDArray[np.uint8]  # height x width x 3 or 4
TASK = "model.data.framing:framed"
# A JPEG may be scaled while it decodes, as long as so many times the wanted size is left for the real resizing. Our choice.
_ROOM = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """`sides_px` ascending: the largest that the picture reaches is taken, or with `at_any_rate` the smallest.

    Without `pixels` only the size is found out.
    """

    data: bytes
    sides_px: tuple[int, ...]
    pixels: bool
    at_any_rate: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameContext:
    budgets: Budgets
    alpha: bool  # kept, or laid over white


def decoding(task: str, alpha: bool) -> Sandbox[Any, Any]:
    """A child that runs `task` under the usual budgets; close it."""
    budgets = Budgets()
    context = FrameContext(budgets=budgets, alpha=alpha)
    return Sandbox(task, memory_bytes=budgets.child_memory_bytes, item_s=budgets.decode_s, context=context)


@dataclass(frozen=True, slots=True, kw_only=True)
class Framed:
    """`side_px`: the resolution that it belongs to; None: it reaches none."""

    side_px: int | None
    width_px: int = 0
    height_px: int = 0
    pixels: Pixels | None = None


def framed(wanted: Wanted, context: FrameContext) -> Framed | Failure:
    """Reasons as in `read_header`. Raises MemoryError."""
    header = read_header(wanted.data, context.budgets)
    if isinstance(header, Failure):
        return header
    side = resolution_px(header.width_px, header.height_px, wanted.sides_px)
    if side is None and not wanted.at_any_rate:
        return Framed(side_px=None)
    side = side or wanted.sides_px[0]
    width, height = bucket_sides_px(frame(header.width_px, header.height_px).bucket, side)
    if not wanted.pixels:
        return Framed(side_px=side, width_px=width, height_px=height)
    room = _ROOM * max(width, height)
    decoded = upright_image(wanted.data, context.budgets, ("RGB", (room, room)), rgba if context.alpha else over_white)
    if isinstance(decoded, Failure):
        return decoded
    pixels = np.asarray(cut(decoded[1], width, height))
    return Framed(side_px=side, width_px=width, height_px=height, pixels=pixels)


def cut(image: Image.Image, width: int, height: int) -> Image.Image:
    """The middle of the picture that has this aspect ratio, at this size."""
    scale = min(image.width / width, image.height / height)
    wide, high = width * scale, height * scale
    left, top = (image.width - wide) / 2, (image.height - high) / 2
    return image.resize((width, height), Image.Resampling.LANCZOS, box=(left, top, left + wide, top + high))


def rgba(image: Image.Image) -> Image.Image:
    """With an alpha, full where the picture has none."""
    return image.convert("RGBA")
