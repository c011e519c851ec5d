"""How hard a JPEG was compressed, read from its quantisation tables and its size."""

from __future__ import annotations

from functools import lru_cache

import pyarrow as pa

from filters.scorers.planes import Row, ScaledPlanes
from filters.scorers.scorer import Scorer
from flywheel.schemas import score_spec

# ITU-T T.81 Annex K, table K.1 (luminance). Only sums are compared, so the order does not matter.
LUMINANCE = (
    *(16, 11, 10, 16, 24, 40, 51, 61),
    *(12, 12, 14, 19, 26, 58, 60, 55),
    *(14, 13, 16, 24, 40, 57, 69, 56),
    *(14, 17, 22, 29, 51, 87, 80, 62),
    *(18, 22, 37, 56, 68, 109, 103, 77),
    *(24, 35, 55, 64, 81, 104, 113, 92),
    *(49, 64, 78, 87, 103, 121, 120, 101),
    *(72, 92, 95, 98, 112, 100, 103, 99),
)


def _sum_at(quality: int) -> int:
    """Sum of the luminance table that libjpeg (jcparam.c) writes at a quality of 1..100."""
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    return sum(min(max((entry * scale + 50) // 100, 1), 255) for entry in LUMINANCE)


SUMS = tuple(_sum_at(quality) for quality in range(1, 101))


def quality_of(table: tuple[int, ...]) -> int:
    """The libjpeg quality (1..100) of equal coarseness: the nearest sum; the higher one of equals."""
    return _quality_of_sum(sum(table))


@lru_cache
def _quality_of_sum(total: int) -> int:
    return max(range(1, 101), key=lambda quality: (-abs(SUMS[quality - 1] - total), quality))


def measure(planes: ScaledPlanes) -> Row:
    """`quality` is None for every other format; `bits_per_px` counts the file's bytes on its native pixels."""
    facts, tables = planes.view.facts, planes.view.jpeg_tables
    pixels = max(1, facts.width_px * facts.height_px)
    return {"quality": quality_of(tables[0]) if tables else None, "bits_per_px": 8 * facts.bytes / pixels}


SCORER = Scorer(
    name="jpeg",
    version="jpeg-1",
    reads="scaled",
    table=score_spec("jpeg", "compression as the file states it", {"quality": pa.int32(), "bits_per_px": pa.float64()}),
    measure=measure,
    says="JPEG quality 1..100 from the quantisation tables (null for other formats), bits per pixel",
)
