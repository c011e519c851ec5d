"""Posters and slides: what is printed is the transcript, where and in the order in which it is read."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.miniature.page import Page, render, sample, wording
from model.miniature.subject import SubjectError

POSTER = Page(layout="poster", script="latin", title="SUN", lines=("TEA", "MAP"), colour="red", shape="star")
SLIDE = Page(layout="two-column slide", script="latin", title="SUN", lines=("TEA", "MAP", "OAK"), colour="blue")

pages = st.integers(0, 2**32).map(lambda seed: sample(np.random.default_rng(seed)))


@given(pages)
def test_a_page_survives_its_json(page: Page) -> None:
    assert Page.from_json(page.to_json()) == page
    assert page.transcript == (page.title, *page.lines)


@pytest.mark.parametrize(
    "changes",
    [
        {"layout": "leaflet"},
        {"script": "han vertical"},
        {"shape": None},
        {"shape": "hexagon"},
        {"lines": ()},
        {"lines": ("A",) * 5},
        {"lines": (" ",)},
        {"layout": "slide"},
        {"layout": "two-column slide", "shape": None, "lines": ("TEA",)},
    ],
)
def test_what_the_world_does_not_have_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(SubjectError):
        replace(POSTER, **changes)


@given(pages)
def test_every_line_is_where_its_box_says_inside_the_page_and_over_no_other(page: Page) -> None:
    side = 192
    printed = render(page, side)
    pixels = np.asarray(printed.image).astype(int)
    for at, (x0, y0, x1, y1) in enumerate(printed.lines):
        assert -0.01 <= x0 < x1 <= 1.01
        assert -0.01 <= y0 < y1 <= 1.01
        inside = pixels[max(0, int(y0 * side)) : int(y1 * side) + 1, max(0, int(x0 * side)) : int(x1 * side) + 1]
        assert inside.std(axis=(0, 1)).max() > 13, page.transcript[at]  # a twentieth of ink that differs by 60
        for other in printed.lines[at + 1 :]:
            wide, high = min(x1, other[2]) - max(x0, other[0]), min(y1, other[3]) - max(y0, other[1])
            assert min(wide, high) <= 0.03


@given(pages)
def test_the_transcript_is_in_reading_order(page: Page) -> None:
    title, *lines = render(page, 128).lines
    assert all(title[1] < box[1] for box in lines)
    if page.layout != "two-column slide":
        assert lines == sorted(lines, key=lambda box: box[1])
        return
    half = (len(lines) + 1) // 2
    first, second = lines[:half], lines[half:]
    for column in (first, second):
        assert column == sorted(column, key=lambda box: box[1])
    on_the_left = all(one[0] < other[0] for one in first for other in second)
    assert on_the_left == (page.script != "hebrew")


def test_words_say_all_of_a_page() -> None:
    rng = np.random.default_rng(12)
    meant: dict[str, str] = {}
    for _ in range(4000):
        page = sample(rng)
        said = wording(page, rng)
        assert meant.setdefault(said, page.subject_id) == page.subject_id, said
        assert all(f'"{part}"' in said for part in page.transcript)
        assert page.colour in said
    assert "two columns" in wording(SLIDE, rng)
