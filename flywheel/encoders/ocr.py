"""Reading the words in a picture.

`TextReader` is the protocol; `rapid_reader` gives the one implementation: RapidOCR with the models that lie in
its wheel (PP-OCRv6 small detector and recogniser, mobile line classifier), offline, on one thread.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol, cast

import cv2
import numpy as np

from flywheel.images.views import RGB

# The scripts in the recogniser's own alphabet (18,708 characters; counted from its metadata). Every other one
# (Cyrillic, Arabic, Hangul, Devanagari, Thai, Hebrew ...) comes out as chance letters with low confidence.
CAN_READ = frozenset({"latin", "han", "kana", "greek"})

VERSION = "rapidocr-3.10/PP-OCRv6-small/1280-1M"
# Detection cost and memory grow with the area; 12 px letters of a 2,000 px poster are still legible here. Our choice.
MAX_SIDE_PX, MAX_PIXELS = 1280, 1_000_000
MIN_SIDE_PX = 8
# Lines read with less confidence are not text we vouch for; they count as unread. Our choice: on the real set,
# lines in scripts outside the alphabet stay below, clean Latin and Han lines above.
MIN_CONFIDENCE = 0.75
# Boxes read as one sign, or with less confidence than this, are ornaments and leaves, not text. Our choice.
UNREAD_CONFIDENCE = 0.35
UNREAD_SIGNS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of text. The box (x0, y0, x1, y1) is in 0..1 of the upright picture."""

    box: tuple[float, float, float, float]
    text: str
    confidence: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """All lines in reading order, and the boxes of lines that were seen but could not be read."""

    lines: tuple[Line, ...]
    unread: tuple[tuple[float, float, float, float], ...] = ()


class TextReader(Protocol):
    """Reads an upright RGB picture of any size."""

    @property
    def version(self) -> str: ...

    @property
    def can_read(self) -> frozenset[str]: ...

    def read(self, rgb: RGB) -> Reading: ...


class RapidReader:
    """RapidOCR on onnxruntime, one thread. Loads its models (32 MB) when made: use `rapid_reader`."""

    version = VERSION
    can_read = CAN_READ

    def __init__(self) -> None:
        from rapidocr import RapidOCR

        self._engine = RapidOCR(
            params={
                "Global.log_level": "critical",
                "Global.text_score": 0.0,
                "Global.max_side_len": MAX_SIDE_PX,
                # RapidOCR's own rule enlarges every picture to 736 px on its short side: on 24 real pages that read
                # the same letters for twice the time and memory.
                "Det.limit_type": "max",
                "Det.limit_side_len": MAX_SIDE_PX,
                # Lines of one batch are padded to the longest; one by one they cost less of both.
                "Rec.rec_batch_num": 1,
                "EngineConfig.onnxruntime.intra_op_num_threads": 1,
                "EngineConfig.onnxruntime.inter_op_num_threads": 1,
            }
        )
        cv2.setNumThreads(1)

    def read(self, rgb: RGB) -> Reading:
        height, width = rgb.shape[:2]
        if min(height, width) < MIN_SIDE_PX:
            return Reading(lines=())
        found = self._engine(cv2.cvtColor(_limited(rgb), cv2.COLOR_RGB2BGR))
        boxes, texts, scores = (
            getattr(found, "boxes", None),
            getattr(found, "txts", None),
            getattr(found, "scores", None),
        )
        if boxes is None or texts is None or scores is None:
            return Reading(lines=())
        small_h, small_w = _limited_shape(height, width)
        placed = [
            Line(box=_box(corners, small_w, small_h), text=str(text), confidence=float(score))
            for corners, text, score in zip(boxes, texts, scores, strict=True)
        ]
        lines = in_reading_order([line for line in placed if is_read(line)])
        return Reading(lines=tuple(lines), unread=tuple(line.box for line in placed if is_unread(line)))


def is_read(line: Line) -> bool:
    """Confident, and with a letter or digit: scripts outside the alphabet come out as rows of dots."""
    return line.confidence >= MIN_CONFIDENCE and any(sign.isalnum() for sign in line.text)


def is_unread(line: Line) -> bool:
    """Text for all one can see, but not text that can be vouched for."""
    signs = sum(not sign.isspace() for sign in line.text)
    dots = line.confidence >= MIN_CONFIDENCE and len(line.text) > UNREAD_SIGNS
    return not is_read(line) and line.confidence >= UNREAD_CONFIDENCE and (signs >= UNREAD_SIGNS or dots)


@cache
def rapid_reader() -> RapidReader:
    """The reader of this process, loaded at the first call."""
    return RapidReader()


def script_of(text: str) -> str | None:
    """The script of most letters: latin, han, kana, hangul, cyrillic, arabic, ...; None without letters.

    Text that mixes kana with Han is Japanese: kana, when they are at least a tenth of both.
    """
    counts = Counter(_script(letter) for letter in text if letter.isalpha())
    if not counts:
        return None
    if (
        counts["kana"] >= 0.1 * (counts["han"] + counts["kana"]) > 0
        and counts["kana"] + counts["han"] > counts["latin"]
    ):
        return "kana"
    return min(counts, key=lambda script: (-counts[script], script))


@cache
def _script(letter: str) -> str:
    name = unicodedata.name(letter, "UNKNOWN").split()[0].lower()
    if name in ("hiragana", "katakana", "halfwidth"):
        return "kana"
    return {"cjk": "han", "fullwidth": "latin", "ideographic": "han"}.get(name, name)


def in_reading_order(lines: list[Line]) -> list[Line]:
    """Top to bottom; lines that overlap by half their height are one row, read left to right."""
    rows: list[list[Line]] = []
    for line in sorted(lines, key=lambda entry: (entry.box[1], entry.box[0])):
        if rows and _same_row(rows[-1][0], line):
            rows[-1].append(line)
        else:
            rows.append([line])
    return [line for row in rows for line in sorted(row, key=lambda entry: entry.box[0])]


def _same_row(first: Line, line: Line) -> bool:
    shared = min(first.box[3], line.box[3]) - max(first.box[1], line.box[1])
    return shared > 0.5 * min(first.box[3] - first.box[1], line.box[3] - line.box[1])


def _limited_shape(height: int, width: int) -> tuple[int, int]:
    shrink = min(1.0, MAX_SIDE_PX / max(height, width), (MAX_PIXELS / (height * width)) ** 0.5)
    return max(1, round(height * shrink)), max(1, round(width * shrink))


def _limited(rgb: RGB) -> RGB:
    height, width = _limited_shape(*rgb.shape[:2])
    if (height, width) == rgb.shape[:2]:
        return np.ascontiguousarray(rgb)
    return cast(RGB, cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA))


def _box(corners: Any, width: int, height: int) -> tuple[float, float, float, float]:
    points = np.asarray(corners, dtype=np.float64) / (width, height)
    (x0, y0), (x1, y1) = points.min(axis=0).clip(0, 1), points.max(axis=0).clip(0, 1)
    return float(x0), float(y0), float(x1), float(y1)
