"""Every pixel mode that a file may bring, as 8-bit L, RGB or RGBA, with the colours a viewer would show."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

# The ranges that integers and floats without a declared white are taken to span: the first that holds every
# value (our choice). Values outside all of them are stretched between their extremes.
_WHITES_OF_INTEGERS = (255.0, 65_535.0)
_WHITES_OF_FLOATS = (1.0, 255.0, 65_535.0)


def to_eight_bit(image: Image.Image) -> Image.Image:
    """`image` (loaded) as L, RGB, or RGBA where a transparent pixel is possible.

    CMYK goes the plain way, without an ink profile; Pillow's JPEG plugin has undone Adobe's inversion.
    """
    if image.mode.startswith("I;16"):
        return _from_sixteen_bit(image)
    if image.mode in ("I", "F"):
        return Image.fromarray(
            _stretched(np.asarray(image), _WHITES_OF_INTEGERS if image.mode == "I" else _WHITES_OF_FLOATS)
        )
    if image.mode == "LAB":
        return _from_lab(image)
    if image.mode in ("L", "RGB", "RGBA") and "transparency" not in image.info:
        return image  # converting to the mode it has would copy it
    if image.has_transparency_data:
        return image.convert("RGBA")
    return image.convert("L" if image.mode == "1" else "RGB")


def over_white(image: Image.Image) -> Image.Image:
    """RGB; what is transparent shows a white page."""
    if image.mode != "RGBA":
        return image.convert("RGB") if image.mode != "RGB" else image
    page = Image.new("RGB", image.size, "white")
    page.paste(image, mask=image.getchannel("A"))
    return page


def grey(image: Image.Image) -> Image.Image:
    """L: Rec. 601 luma of what `over_white` shows."""
    return image if image.mode == "L" else over_white(image).convert("L")


def _from_sixteen_bit(image: Image.Image) -> Image.Image:
    """The high byte, as Pillow itself does for 16-bit RGB; its plain convert("L") would clip at 255."""
    wide = np.asarray(image)
    grey = Image.fromarray((wide >> 8).astype(np.uint8))
    key = image.info.get("transparency")
    if not isinstance(key, int):
        return grey
    alpha = Image.fromarray(np.where(wide == key, 0, 255).astype(np.uint8))
    return Image.merge("LA", (grey, alpha)).convert("RGBA")


def _stretched(wide: npt.NDArray[Any], whites: tuple[float, ...]) -> npt.NDArray[np.uint8]:
    values = np.nan_to_num(wide.astype(np.float32), copy=False, posinf=0.0, neginf=0.0)
    low, high = float(values.min()), float(values.max())
    black = 0.0
    white = next((limit for limit in whites if low >= 0 and high <= limit), None)
    if white is None:
        black, white = low, high
    values -= black
    values *= 255.0 / ((white - black) or 1.0)  # one flat value has no range to stretch
    return np.rint(values, out=values).astype(np.uint8)


def _from_lab(image: Image.Image) -> Image.Image:
    from PIL import ImageCms  # loads littlecms, which hardly any image needs

    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    converted = ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB")
    assert converted is not None
    return converted
