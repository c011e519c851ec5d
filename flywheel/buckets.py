"""Where an image is trained: its aspect-ratio bucket, what cropping to it costs, its resolution at each stage.

Fixed here and not in the trainer, so that verdicts, exports and batches agree. Each answer exists twice, as a
function and as SQL over `width_px` and `height_px`; tests hold them equal to the last bit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

# Width over height. Qwen-Image (the parent of 2.0) lists the nine; the order here is by ratio.
BUCKETS: Mapping[str, float] = {
    "1:3": 1 / 3,
    "9:16": 9 / 16,
    "2:3": 2 / 3,
    "3:4": 3 / 4,
    "1:1": 1.0,
    "4:3": 4 / 3,
    "3:2": 3 / 2,
    "16:9": 16 / 9,
    "3:1": 3.0,
}

_NAMES = tuple(BUCKETS)
_RATIOS = tuple(BUCKETS.values())
# Cropping loses the same share to both neighbours at their geometric mean.
_BOUNDARIES = tuple(math.sqrt(left * right) for left, right in pairwise(_RATIOS))


@dataclass(frozen=True, slots=True)
class Frame:
    """`crop_loss`: share of the area that centre-cropping to the bucket removes; `cropped_px`: the short side left."""

    bucket: str
    crop_loss: float
    cropped_px: int


def frame(width_px: int, height_px: int) -> Frame:
    """The bucket that loses least."""
    ratio = width_px / height_px
    index = sum(ratio >= boundary for boundary in _BOUNDARIES)
    target = _RATIOS[index]
    loss = 1.0 - min(ratio / target, target / ratio)
    short = min(height_px * target, float(height_px)) if ratio > target else min(float(width_px), width_px / target)
    return Frame(_NAMES[index], loss, math.floor(short + 0.5))


def resolution_px(width_px: int, height_px: int, sizes: Sequence[int]) -> int | None:
    """The largest of a stage's `sizes` (ascending) that the cropped short side reaches.

    An image whose whole short side reaches the smallest size belongs there even if its crop falls a few
    pixels short: the short-side rule let it in. None below that.
    """
    reached = [size for size in sizes if frame(width_px, height_px).cropped_px >= size]
    if reached:
        return reached[-1]
    return sizes[0] if min(width_px, height_px) >= sizes[0] else None


def bucket_sides_px(bucket: str, side_px: int) -> tuple[int, int]:
    """Width and height of a bucket at a resolution: about `side_px` squared of area, sides of whole tokens.

    From 256 px sides are multiples of 32, as a vision-language model cuts them, below of 16. Our choice.
    """
    step = 32 if side_px >= 256 else 16
    stretch = math.sqrt(BUCKETS[bucket])
    return max(step, round(side_px * stretch / step) * step), max(step, round(side_px / stretch / step) * step)


def framed_sql(scores: str) -> str:
    """SQL: every column of `scores`, and bucket, crop_loss, cropped_px, short_side_px."""
    names = "".join(
        f" WHEN ratio < {double(edge)} THEN '{name}'" for edge, name in zip(_BOUNDARIES, _NAMES, strict=False)
    )
    ratios = "".join(
        f" WHEN ratio < {double(edge)} THEN {double(value)}" for edge, value in zip(_BOUNDARIES, _RATIOS, strict=False)
    )
    bucket = f"CASE{names} ELSE '{_NAMES[-1]}' END"
    target = f"CASE{ratios} ELSE {double(_RATIOS[-1])} END"
    return f"""
SELECT * EXCLUDE (ratio, target),
       1e0 - least(ratio / target, target / ratio) AS crop_loss,
       floor(CASE WHEN ratio > target THEN least(height_px * target, height_px::DOUBLE)
                  ELSE least(width_px::DOUBLE, width_px / target) END + 0.5e0)::INTEGER AS cropped_px,
       least(width_px, height_px) AS short_side_px
FROM (SELECT *, {bucket} AS bucket, {target} AS target
      FROM (SELECT *, width_px::DOUBLE / height_px::DOUBLE AS ratio FROM {scores}))"""


def resolution_sql(sizes: Sequence[int]) -> str:
    """SQL expression over the columns of `framed_sql`; the same answer as `resolution_px`."""
    reached = "".join(f" WHEN cropped_px >= {size} THEN {size}" for size in reversed(sizes))
    return f"CASE{reached} WHEN short_side_px >= {sizes[0]} THEN {sizes[0]} END"


def double(value: float) -> str:
    """A DOUBLE literal that keeps every bit: without an exponent DuckDB would read a DECIMAL."""
    return f"{value:.17e}"
