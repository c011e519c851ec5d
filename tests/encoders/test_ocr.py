"""Reading words: the bundled reader on a drawn page, order, scripts, and the row that is stored."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from filters.scorers import SCORERS, measure_ocr
from filters.scorers.ocr import word_count
from flywheel.encoders.ocr import CAN_READ, Line, Reading, in_reading_order, is_read, is_unread, rapid_reader, script_of
from flywheel.images.views import RGB, NativeView


class Fixed:
    """Stands in for a reader."""

    version = "fixed"
    can_read = CAN_READ

    def __init__(self, reading: Reading) -> None:
        self.reading = reading

    def read(self, rgb: RGB) -> Reading:
        return self.reading


def view(rgb: RGB) -> NativeView:
    return NativeView(rgb=rgb)


def test_a_drawn_page_is_read_in_order() -> None:
    page = np.full((400, 700, 3), 255, np.uint8)
    for row, words in enumerate(("HELLO WORLD", "SECOND LINE 42")):
        cv2.putText(page, words, (40, 120 + 150 * row), cv2.FONT_HERSHEY_SIMPLEX, 2.0, (0, 0, 0), 4)
    row = measure_ocr(view(page), rapid_reader())["ocr"]
    assert row["text"] == "HELLO WORLD\nSECOND LINE 42"
    assert (row["words"], row["lines"], row["script"]) == (5, 2, "latin")
    x0, y0, x1, y1, text, confidence = json.loads(str(row["boxes_json"]))[0]
    assert 0.03 < x0 < x1 < 0.8
    assert 0.1 < y0 < y1 < 0.4
    assert text == "HELLO WORLD"
    assert confidence > 0.8
    assert set(row) == set(SCORERS["ocr"].columns)


@pytest.mark.parametrize("shape", [(1, 1), (3, 900), (40, 40)])
def test_blank_and_tiny_pictures_have_no_words(shape: tuple[int, int]) -> None:
    row = measure_ocr(view(np.full((*shape, 3), 128, np.uint8)), rapid_reader())["ocr"]
    assert (row["words"], row["text"], row["script"], row["mean_confidence"]) == (0, "", None, None)


def test_unread_lines_make_the_script_unread() -> None:
    reading = Reading(
        lines=(Line(box=(0.1, 0.1, 0.2, 0.12), text="ab", confidence=0.9),), unread=((0.1, 0.3, 0.9, 0.6),)
    )
    row = measure_ocr(view(np.zeros((9, 9, 3), np.uint8)), Fixed(reading))["ocr"]
    assert row["script"] == "unread"
    assert row["unread_share"] > 0.9


def test_reading_order_is_rows_then_columns() -> None:
    def line(x: float, y: float, text: str) -> Line:
        return Line(box=(x, y, x + 0.2, y + 0.05), text=text, confidence=1.0)

    lines = [line(0.5, 0.1, "b"), line(0.1, 0.11, "a"), line(0.1, 0.5, "c")]
    assert [entry.text for entry in in_reading_order(lines)] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("Hello 123", "latin"),
        ("你好世界 abc", "han"),
        ("東京へようこそ", "kana"),
        ("Привет мир", "cyrillic"),
        ("안녕하세요", "hangul"),
        ("مرحبا", "arabic"),
        ("12 + 3", None),
    ],
)
def test_script_is_that_of_most_letters(text: str, script: str | None) -> None:
    assert script_of(text) == script


def test_words_of_unspaced_scripts_are_counted_by_pairs() -> None:
    assert word_count("two words") == 2
    assert word_count("你好世界") == 2
    assert word_count("") == 0


@pytest.mark.parametrize(
    ("text", "confidence", "read", "unread"),
    [
        ("Hello", 0.9, True, False),
        ("SGLELUX UU LEL", 0.66, False, True),
        ("     .", 0.8, False, True),
        ("7", 0.38, False, False),
        ("ab", 0.2, False, False),
    ],
)
def test_lines_are_read_unread_or_no_text_at_all(text: str, confidence: float, read: bool, unread: bool) -> None:
    line = Line(box=(0.0, 0.0, 1.0, 0.1), text=text, confidence=confidence)
    assert (is_read(line), is_unread(line)) == (read, unread)
