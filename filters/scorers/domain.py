"""What kind of picture it is: photo, design, poster, slide, diagram or document; from other scores alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

from filters.scorers.planes import Row, Value
from filters.scorers.scorer import Scorer
from flywheel.schemas import score_spec

DOMAINS = ("photo", "design", "poster", "slide", "diagram", "document")
Scores = Mapping[str, Value]

# Signs of a drawn picture, each worth half a vote to a full one between its two limits: cameras give many
# levels, many colours and few flat pixels; our choice, from 150 real photographs and 85 text-rich pictures.
DRAWN: Mapping[str, tuple[float, float]] = {
    "entropy_bits": (6.2, 4.2),
    "flat_share": (0.4, 0.7),
    "top_colour_share": (0.25, 0.5),
    "palette_colours": (48.0, 28.0),
}
DRAWN_LIMIT = 0.65
PAGE_LUMA, PAGE_SATURATION = 0.75, 0.14
SLIDE_ASPECT = (1.25, 1.85)


@dataclass(frozen=True, slots=True, kw_only=True)
class TextSigns:
    """How much is written: words and area as read, or guessed from the density of strokes where nobody read."""

    words: float
    area: float
    read: bool


def measure(scores: Scores) -> Row:
    """`scores`: columns of the wide `scores` row, missing or None where not measured.

    All columns are None where tone was not measured. `domain_confidence` is 0.5..1. OCR makes it better, not possible.
    """
    drawn = drawn_share(scores)
    if drawn is None:
        return {"domain": None, "domain_confidence": None, "drawn": None, "with_ocr": None}
    text = text_signs(scores)
    if drawn < DRAWN_LIMIT:
        domain, clear = _camera(scores, text)
    else:
        domain, clear = _drawn(scores, text)
    sure = 0.5 + 0.5 * min(1.0, abs(drawn - DRAWN_LIMIT) / (1 - DRAWN_LIMIT)) * clear
    return {"domain": domain, "domain_confidence": sure, "drawn": drawn, "with_ocr": int(text.read)}


def drawn_share(scores: Scores) -> float | None:
    """0 = certainly from a camera (or painted), 1 = certainly drawn by software; None without tone."""
    votes = []
    for column, (camera, software) in DRAWN.items():
        value = number(scores, column)
        if value is None:
            return None
        votes.append(min(max((value - camera) / (software - camera), 0.0), 1.0))
    return sum(votes) / len(votes)


def text_signs(scores: Scores) -> TextSigns:
    words, area = number(scores, "words"), number(scores, "text_area")
    if words is not None and area is not None:
        return TextSigns(words=words if scores.get("script") != "unread" else 100 * area, area=area, read=True)
    density = number(scores, "text_density") or 0.0
    return TextSigns(words=0.0 if density < 0.13 else 100 * density, area=0.7 * density, read=False)


def _camera(scores: Scores, text: TextSigns) -> tuple[str, float]:
    """Photographs; pages and posters that were photographed or carry a photograph, only when read."""
    if text.read and text.words >= 40 and text.area > 0.2:
        pale = (number(scores, "saturation_mean") or 0.0) < PAGE_SATURATION
        return ("document" if pale else "poster"), 0.5
    if text.read and text.words >= 10 and text.area > 0.12:
        return "poster", 0.5
    return "photo", 1.0


def _drawn(scores: Scores, text: TextSigns) -> tuple[str, float]:
    luma, saturation = number(scores, "luma_mean") or 0.0, number(scores, "saturation_mean") or 0.0
    aspect, top = number(scores, "aspect") or 1.0, number(scores, "top_colour_share") or 0.0
    density = number(scores, "text_density") or 0.0
    if text.words < 3:
        return "design", 1.0 if text.read else 0.6
    if luma > PAGE_LUMA and saturation < PAGE_SATURATION:
        page = density > 0.42 and saturation < 0.06
        return ("document", 1.0) if page else ("diagram", 0.7)
    if text.read and text.words < 6:
        return "design", 0.6
    if SLIDE_ASPECT[0] <= aspect <= SLIDE_ASPECT[1] and saturation < 0.2 and top > 0.55:
        return "slide", 0.7
    return "poster", 0.8


def number(scores: Scores, column: str) -> float | None:
    value = scores.get(column)
    return float(value) if isinstance(value, int | float) else None


SCORER = Scorer(
    name="domain",
    version="domain-1",
    reads="scores",
    table=score_spec(
        "domain",
        "what kind of picture it is, derived from other scores",
        {"domain": pa.string(), "domain_confidence": pa.float64(), "drawn": pa.float64(), "with_ocr": pa.int8()},
    ),
    measure=measure,
    says="photo, design, poster, slide, diagram or document, from the other scores alone",
)
