"""Pictures side by side."""

from __future__ import annotations

import math
from collections.abc import Sequence

from PIL import Image

_GAP_PX = 2


def grid(pictures: Sequence[Image.Image]) -> Image.Image:
    """About as wide as high, in reading order; pictures of one size. Raises ValueError for none."""
    if not pictures:
        raise ValueError("no pictures for a grid")
    columns = math.ceil(math.sqrt(len(pictures)))
    width, height = pictures[0].width + _GAP_PX, pictures[0].height + _GAP_PX
    sheet = Image.new("RGB", (columns * width - _GAP_PX, -(-len(pictures) // columns) * height - _GAP_PX), "white")
    for at, one in enumerate(pictures):
        sheet.paste(one.convert("RGB"), (at % columns * width, at // columns * height))
    return sheet
