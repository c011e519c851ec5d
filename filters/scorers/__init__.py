"""Facts about an image, measured once: every scorer, its table and its version."""

from filters.scorers.measure import measure_native, measure_ocr, measure_scaled, measure_scores, names_reading, wide
from filters.scorers.planes import NativePlanes, Row, ScaledPlanes, Value
from filters.scorers.registry import SCORERS
from filters.scorers.scorer import Reads, Scorer

__all__ = [
    "SCORERS",
    "NativePlanes",
    "Reads",
    "Row",
    "ScaledPlanes",
    "Scorer",
    "Value",
    "measure_native",
    "measure_ocr",
    "measure_scaled",
    "measure_scores",
    "names_reading",
    "wide",
]
