"""Domains: one test for each thing that one can see in a picture and that decides."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.scorers.domain import drawn_share, measure

# Rows as real pictures give them. White paper with some strokes; a camera's picture; a coloured flat ground.
PAPER: dict[str, Any] = {
    "entropy_bits": 1.5,
    "flat_share": 0.8,
    "top_colour_share": 0.75,
    "palette_colours": 14,
    "luma_mean": 0.9,
    "saturation_mean": 0.05,
    "clipped_share": 0.1,
    "text_density": 0.25,
    "aspect": 0.75,
}
CAMERA = PAPER | {
    "entropy_bits": 7.3,
    "flat_share": 0.2,
    "top_colour_share": 0.1,
    "palette_colours": 70,
    "luma_mean": 0.45,
    "saturation_mean": 0.15,
}
COLOURED = PAPER | {"luma_mean": 0.4, "saturation_mean": 0.35}
SCREEN = {"aspect": 16 / 9}

# Lines as (x0, y0, x1, y1, words): a heading over bullets, a column of running text, labels strewn about.
HEADING = (0.05, 0.04, 0.5, 0.12, "Field Sizes")
BULLETS = [(0.05, y, 0.5, y + 0.05, "Yield explains price in most cases") for y in (0.25, 0.35, 0.45, 0.55, 0.65)]
PROSE = [(0.1, y / 40, 0.9, y / 40 + 0.02, "so many words that a page is soon full of them") for y in range(2, 36)]
LABELS = [(x, y, x + 0.1, y + 0.04, "node") for x in (0.1, 0.4, 0.7) for y in (0.2, 0.5, 0.8)]


def said(look: dict[str, Any], lines: list[tuple[float, float, float, float, str]], **more: Any) -> Any:
    """The domain of a picture that looks like `look`, with these lines read in it and nothing else."""
    words = sum(len(text.split()) for *_, text in lines)
    area = sum((x1 - x0) * (y1 - y0) for x0, y0, x1, y1, _ in lines)
    boxes = json.dumps([[*line, 0.99] for line in lines])
    read = {"words": words, "text_area": area, "boxes_json": boxes, "script": "latin"}
    return measure(look | read | more)["domain"]


def test_a_slide_is_a_screen_of_sentences_under_a_heading() -> None:
    assert said(PAPER | SCREEN, [HEADING, *BULLETS]) == "slide"
    dark = {"luma_mean": 0.15, "saturation_mean": 0.1}
    assert said(PAPER | SCREEN | dark, [HEADING, *BULLETS]) == "slide"


@pytest.mark.parametrize(
    ("look", "lines"),
    [
        ({"aspect": 0.71}, [HEADING, *BULLETS]),
        (SCREEN, [(0.05, 0.05, 0.5, 0.11, "Yield explains price in most cases"), *BULLETS]),
        (SCREEN, [*BULLETS, (0.05, 0.85, 0.5, 0.93, "Field Sizes")]),
        (SCREEN, [HEADING, *[(x0, y0, x1, y0 + 0.02, text) for x0, y0, x1, _, text in BULLETS]]),
    ],
    ids=["portrait", "no heading", "heading at the foot", "small print"],
)
def test_what_a_slide_lacks_makes_it_a_page(look: dict[str, Any], lines: list[Any]) -> None:
    assert said(PAPER | look, lines, text_density=0.12) == "document"


def test_a_page_of_text_is_a_document_and_a_drawing_with_labels_a_diagram() -> None:
    assert said(PAPER, PROSE, text_density=0.6) == "document"
    assert said(PAPER | {"luma_mean": 0.1, "saturation_mean": 0.02}, PROSE, text_density=0.6) == "document"
    assert said(PAPER, LABELS, text_density=0.35) == "diagram"
    # Among lines that no letter accounts for, a page of sentences keeps up longer than one of labels.
    few = PROSE[:12]
    area = sum((x1 - x0) * (y1 - y0) for x0, y0, x1, y1, _ in few)
    assert said(PAPER, few, text_density=area / 0.5) == "document"
    assert said(PAPER, [(x0, y0, x1, y1, "total") for x0, y0, x1, y1, _ in few], text_density=area / 0.5) == "diagram"
    assert said(PAPER, few, text_density=area / 0.3) == "diagram"


def test_bars_of_colour_on_pure_white_are_a_diagram() -> None:
    bars = PAPER | {"saturation_mean": 0.25, "luma_mean": 0.7}
    assert said(bars, LABELS, text_density=0.35, clipped_share=0.7) == "diagram"
    assert said(bars, LABELS, text_density=0.35, clipped_share=0.1) == "poster"


def test_a_single_line_of_text_is_a_document_even_where_its_script_cannot_be_read() -> None:
    strip = PAPER | {"aspect": 9.0, "text_density": 0.3}
    assert said(strip, [(0.05, 0.2, 0.95, 0.8, "All of it is one line")]) == "document"
    assert said(strip, [], text_area=0.5, script="unread") == "document"


def test_words_on_colour_are_a_poster_and_colour_alone_a_design() -> None:
    assert said(COLOURED, [(0.1, 0.3, 0.9, 0.4, "Quiet Harbour"), *BULLETS]) == "poster"
    assert said(COLOURED, []) == "design"
    assert said(COLOURED, [(0.4, 0.4, 0.6, 0.5, "Harbour")]) == "design"


def test_a_photograph_is_a_poster_only_with_a_line_across() -> None:
    menu = [
        (0.1 + x, y, 0.25 + x, y + 0.07, "soup of the day") for x in (0, 0.3, 0.6) for y in (0.1, 0.2, 0.3, 0.4, 0.5)
    ]
    assert said(CAMERA, menu, text_density=0.2) == "photo"
    assert said(CAMERA, [*menu, (0.1, 0.7, 0.9, 0.8, "Open until midnight")], text_density=0.2) == "poster"


def test_a_photographed_page_is_a_document() -> None:
    assert said(CAMERA | {"saturation_mean": 0.08}, PROSE, text_density=0.4) == "document"
    assert said(CAMERA | {"saturation_mean": 0.08}, PROSE[:3], text_density=0.1) == "photo"


def test_letters_as_large_as_the_picture_are_a_logo_but_not_what_a_reader_sees_in_clouds() -> None:
    logo = [(0.0, 0.02, 1.0, 0.98, "Arbitro")]
    assert said(CAMERA, logo, text_density=0.5) == "design"
    assert said(CAMERA, logo, text_density=0.04) == "photo"
    pale = CAMERA | {"saturation_mean": 0.08}
    assert said(pale, [], text_area=0.7, script="unread", text_density=0.04) == "photo"
    assert said(pale, [], text_area=0.7, script="unread", text_density=0.4) == "document"


def test_a_grey_photograph_is_not_drawn_for_having_no_colours() -> None:
    bricks = {"entropy_bits": 5.4, "flat_share": 0.47, "top_colour_share": 0.59, "palette_colours": 6}
    grey, tinted = drawn_share({**bricks, "saturation_mean": 0.0}), drawn_share({**bricks, "saturation_mean": 0.1})
    assert grey is not None
    assert tinted is not None
    assert grey < 0.4 < 0.65 <= tinted
    assert measure(PAPER | bricks | {"saturation_mean": 0.0})["domain"] == "photo"


SHARES = st.floats(0, 1)


@settings(max_examples=200)
@given(
    entropy=st.floats(0, 8),
    palette=st.integers(0, 200),
    shares=st.tuples(*[SHARES] * 6),
    aspect=st.floats(0.1, 10),
)
def test_without_a_reading_it_is_a_page_a_photo_or_a_design(
    entropy: float, palette: int, shares: tuple[float, ...], aspect: float
) -> None:
    flat, top, luma, saturation, clipped, density = shares
    look = {"entropy_bits": entropy, "palette_colours": palette, "flat_share": flat, "top_colour_share": top}
    look |= {"luma_mean": luma, "saturation_mean": saturation, "clipped_share": clipped, "text_density": density}
    row = measure(look | {"aspect": aspect})
    assert row["domain"] in {"photo", "design", "diagram", "document"}
    assert row["with_ocr"] == 0
    if saturation >= 0.14 and clipped <= 0.5:
        assert row["domain"] in {"photo", "design"}
