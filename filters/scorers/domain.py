"""What kind of picture it is: photo, design, poster, slide, diagram or document; from other scores alone.

A short list of decisions, each on something that one can see: was it drawn, is it a page, do letters account for
its strokes, is there a heading over a few long lines. Without a reading there are no letters to go by: what is not
plainly a page is then a photo or a design.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median_high
from typing import Final

import pyarrow as pa

from filters.scorers.planes import Row, Value
from filters.scorers.scorer import Scorer
from flywheel.schemas import score_spec

DOMAINS = ("photo", "design", "poster", "slide", "diagram", "document")
# The scorers whose columns are read here: where one of their versions changes, so may the domain.
DERIVED_FROM = ("tone", "text_density", "ocr")
Scores = Mapping[str, Value]

# All limits are our choice, from 263 real pictures labelled by eye and two planted sets. Fitted on half of either,
# they were right on 0.93 of the other real half (0.87 before) and 0.97 of the other planted set, unseen.
#
# Signs of a drawn picture, each worth nothing to a full vote between its limits: cameras give many levels, many
# colours and few flat pixels.
DRAWN: Mapping[str, tuple[float, float]] = {
    "entropy_bits": (6.2, 4.2),
    "flat_share": (0.4, 0.7),
    "top_colour_share": (0.25, 0.5),
    "palette_colours": (48.0, 28.0),
}
# A grey picture has few colours whoever made it: they do not vote there.
COLOUR_VOTES: Final = ("top_colour_share", "palette_colours")
GREY_SATURATION: Final = 0.02
# Many words make it likelier that software drew what lies around them.
DRAWN_LIMIT, DRAWN_LIMIT_WITH_TEXT = 0.65, 0.5

FEW_WORDS, SOME_WORDS, MANY_WORDS = 3, 10, 40
# Paper: light and nearly colourless, or any ground that is mostly pure white; on a screen also colourless and dark.
PAPER_LUMA, PAPER_SATURATION, PAPER_COLOURLESS = 0.75, 0.14, 0.06
WHITE_LUMA, WHITE_SHARE = 0.6, 0.5
# Of all that looks like strokes, lettering covers at least this share on a page, and less in a drawing with labels;
# less is enough where lines are sentences, which labels are not (an invoice with its rules).
LETTERED, LETTERED_SENTENCES = 0.6, 0.4
SENTENCE_WORDS: Final = 2.5
# Without a reading, only strokes this dense are a page for sure, and none as sparse as this are text.
DENSE_STROKES, SPARSE_STROKES = 0.42, 0.13
# Few letters as large as the picture are a sign or a logo, many a page.
ALL_LETTERS: Final = 0.8
# What could not be read is text where it has the strokes of text; a reader also finds "lines" in clouds.
BLURRED_LETTERS: Final = 3.0

# A slide: the shape of a screen, sentences that can be read from afar under a heading at the top.
SLIDE_ASPECT, SLIDE_SATURATION, SLIDE_TEXT_AREA = (1.2, 1.9), 0.2, 0.4
SLIDE_LINES, SLIDE_LETTERS = 4, 0.03
HEADING_WITHIN, HEADING_OVER_BODY = 0.15, 1.25
# A poster with a photograph on it has a line across; signs and menus in a scene have not.
POSTER_TEXT_AREA, POSTER_LINE_WIDTH = 0.12, 0.5
# A photographed page is full of text or has many words, on a pale ground; on any ground where there is nothing else.
PAGE_TEXT_AREA, FULL_TEXT_AREA = 0.2, 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class TextSigns:
    """What is written. Where nobody read (`read`), words and area are guessed from the density of strokes.

    `lines` were read. `letters` is the height of the middle one and `widest` the longest one's width, of the short
    side and of the width; `headed` says that the largest one stands at the top.
    """

    words: float
    area: float
    read: bool
    unread: bool = False
    lines: int = 0
    letters: float = 0.0
    widest: float = 0.0
    headed: bool = False


def measure(scores: Scores) -> Row:
    """`scores`: columns of the wide `scores` row and `boxes_json`, missing or None where not measured.

    All columns are None where tone was not measured. `domain_confidence` is 0.5..1. OCR makes it better, not possible.
    """
    drawn = drawn_share(scores)
    if drawn is None:
        return {"domain": None, "domain_confidence": None, "drawn": None, "with_ocr": None}
    text = text_signs(scores)
    limit = DRAWN_LIMIT_WITH_TEXT if text.lines and text.words >= SOME_WORDS else DRAWN_LIMIT
    domain, clear = _of_camera(scores, text) if drawn < limit else _of_software(scores, text)
    sure = 0.5 + 0.5 * min(1.0, abs(drawn - limit) / (1 - limit)) * clear
    return {"domain": domain, "domain_confidence": sure, "drawn": drawn, "with_ocr": int(text.read)}


def drawn_share(scores: Scores) -> float | None:
    """0 = certainly from a camera (or painted), 1 = certainly drawn by software; None without tone."""
    grey = (number(scores, "saturation_mean") or 0.0) < GREY_SATURATION
    votes = []
    for column, (camera, software) in DRAWN.items():
        value = number(scores, column)
        if value is None:
            return None
        if not (grey and column in COLOUR_VOTES):
            votes.append(min(max((value - camera) / (software - camera), 0.0), 1.0))
    return sum(votes) / len(votes)


def text_signs(scores: Scores) -> TextSigns:
    """From OCR where it was run, else guessed."""
    words, area = number(scores, "words"), number(scores, "text_area")
    if words is None or area is None:
        density = number(scores, "text_density") or 0.0
        return TextSigns(words=0.0 if density < SPARSE_STROKES else 100 * density, area=0.7 * density, read=False)
    unread = scores.get("script") == "unread"
    if unread and area < BLURRED_LETTERS * (number(scores, "text_density") or 0.0):
        words = 100 * area
    boxes = [box[:4] for box in json.loads(str(scores.get("boxes_json") or "[]"))]
    if not boxes:
        return TextSigns(words=words, area=area, read=True, unread=unread)
    aspect = number(scores, "aspect") or 1.0
    sizes = [min((x1 - x0) * max(aspect, 1.0), (y1 - y0) * max(1 / aspect, 1.0)) for x0, y0, x1, y1 in boxes]
    largest, letters = max(sizes), median_high(sizes)
    _, top, _, bottom = boxes[sizes.index(largest)]
    return TextSigns(
        words=words,
        area=area,
        read=True,
        unread=unread,
        lines=len(boxes),
        letters=letters,
        widest=max(x1 - x0 for x0, _, x1, _ in boxes),
        headed=(top + bottom) / 2 < HEADING_WITHIN and largest >= HEADING_OVER_BODY * letters,
    )


def _of_camera(scores: Scores, text: TextSigns) -> tuple[str, float]:
    """Photographs; pages and posters that were photographed or carry a photograph, only when read."""
    if not text.read:
        return "photo", 1.0
    if _is_lettering(scores, text):
        return "design", 0.5
    pale = (number(scores, "saturation_mean") or 0.0) < PAPER_SATURATION
    much = text.area > (PAGE_TEXT_AREA if text.words >= MANY_WORDS else FULL_TEXT_AREA)
    if text.words >= SOME_WORDS and ((pale and much) or text.area > ALL_LETTERS):
        return "document", 0.5
    if text.words >= SOME_WORDS and text.area > POSTER_TEXT_AREA and text.widest >= POSTER_LINE_WIDTH:
        return "poster", 0.5
    return "photo", 1.0


def _of_software(scores: Scores, text: TextSigns) -> tuple[str, float]:
    if text.words < FEW_WORDS or _is_lettering(scores, text):
        return "design", 1.0 if text.read else 0.6
    if _is_slide(scores, text):
        return "slide", 0.8
    density, saturation = number(scores, "text_density") or 0.0, number(scores, "saturation_mean") or 0.0
    if _is_paper(scores):
        if not text.read:
            return ("document" if density > DENSE_STROKES and saturation < PAPER_COLOURLESS else "diagram"), 0.5
        share = LETTERED_SENTENCES if _has_sentences(text) else LETTERED
        return ("document", 0.9) if text.area >= share * density else ("diagram", 0.9)
    if not text.read or text.words < 2 * FEW_WORDS:
        return "design", 0.6
    return "poster", 0.8


def _is_paper(scores: Scores) -> bool:
    luma, saturation = number(scores, "luma_mean") or 0.0, number(scores, "saturation_mean") or 0.0
    white = luma > WHITE_LUMA and (number(scores, "clipped_share") or 0.0) > WHITE_SHARE
    return white or saturation < PAPER_COLOURLESS or (luma > PAPER_LUMA and saturation < PAPER_SATURATION)


def _is_lettering(scores: Scores, text: TextSigns) -> bool:
    few = text.unread or text.words < SOME_WORDS
    strokes = BLURRED_LETTERS * (number(scores, "text_density") or 0.0)
    return text.read and few and ALL_LETTERS < text.area < strokes and not _is_paper(scores)


def _has_sentences(text: TextSigns) -> bool:
    return text.lines > 0 and text.words >= SENTENCE_WORDS * text.lines


def _is_slide(scores: Scores, text: TextSigns) -> bool:
    aspect, saturation = number(scores, "aspect") or 1.0, number(scores, "saturation_mean") or 0.0
    screen = SLIDE_ASPECT[0] <= aspect <= SLIDE_ASPECT[1] and saturation < SLIDE_SATURATION
    legible = text.letters >= SLIDE_LETTERS and text.lines >= SLIDE_LINES and text.area < SLIDE_TEXT_AREA
    return screen and legible and text.headed and _has_sentences(text)


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
