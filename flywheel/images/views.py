"""What a decode pass hands to scorers: upright RGB pixels and what the header said."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from flywheel.records import ImageFacts

RGB = npt.NDArray[np.uint8]  # height x width x 3
Luma = npt.NDArray[np.uint8]  # height x width

# Our choice: the short side that the scaled pass decodes to (at least; DCT scaling picks the next
# power of two above). Large enough for text strokes on posters, small enough for one pass.
SCALED_SHORT_SIDE_PX = 224


@dataclass(frozen=True, slots=True, eq=False)
class ScaledView:
    """The whole image, upright, small: the one decode that all scaled scorers share.

    `rgb` has a short side of SCALED_SHORT_SIDE_PX up to about twice that, unless the image itself is
    smaller. `scale` is native pixels per pixel of `rgb`. Alpha is composited over white.
    `jpeg_tables` are the luma-first quantisation tables of a JPEG (64 ints each, zigzag as stored), else None.
    `had_alpha`: the image has an alpha channel in use (not all opaque).
    """

    rgb: RGB
    scale: float
    facts: ImageFacts
    jpeg_tables: tuple[tuple[int, ...], ...] | None
    had_alpha: bool


@dataclass(frozen=True, slots=True, eq=False)
class NativeView:
    """The image at its own resolution, upright, in colour; for who reads words."""

    rgb: RGB


@dataclass(frozen=True, slots=True, eq=False)
class LumaView:
    """Rec. 601 luma at the image's own resolution, upright; for what scaling destroys (noise, blur, blocks)."""

    luma: Luma
