"""Posters and slides: writing with a layout and an order in which it is read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from PIL import Image

from model.miniature.canvas import Box, Canvas
from model.miniature.lettering import sign_font
from model.miniature.lot import Lot, pick
from model.miniature.subject import Subject, SubjectError
from model.miniature.vocabulary import (
    BACKGROUNDS,
    COLOURS,
    NUMBERS,
    RIGHT_TO_LEFT,
    SHAPES,
    WORDS,
    contrasts,
    is_dark,
    with_article,
)

LAYOUTS = ("poster", "slide", "two-column slide")
PAGE_SCRIPTS = ("latin", "cyrillic", "hebrew", "han")
MOST_LINES = 4
_INK, _PAPER = (30, 30, 30), (250, 250, 250)
_TRIAL_PX = 200  # text is measured at this size, where a pixel does not matter
_LONGEST = 7  # signs of a word on a page: more would be too small at 96 px


@dataclass(frozen=True, kw_only=True)
class Page(Subject):
    """A title and one to four lines in one script. A poster has a picture of one shape, a slide a coloured band.

    Raises SubjectError for what the world does not have.
    """

    layout: str
    script: str
    title: str
    lines: tuple[str, ...]
    colour: str
    shape: str | None = None

    def __post_init__(self) -> None:
        for problem in _problems(self):
            raise SubjectError(problem)

    @property
    def transcript(self) -> tuple[str, ...]:
        """All writing in the order in which it is read: the title, then column by column."""
        return (self.title, *self.lines)

    @classmethod
    def from_dict(cls, read: Mapping[str, Any]) -> Self:
        return cls(**{**read, "lines": tuple(read["lines"])})


@dataclass(frozen=True, slots=True, kw_only=True)
class Printed:
    """`lines`: the box of each part of the transcript, in its order."""

    image: Image.Image
    lines: tuple[Box, ...]


@dataclass(frozen=True, slots=True)
class _Slot:
    """Where a line goes: its box in shares of the side, its colour, and whether it stands in the middle of the box."""

    box: Box
    colour: tuple[int, int, int]
    centred: bool


def sample(rng: np.random.Generator) -> Page:
    layout, script = pick(rng, LAYOUTS), pick(rng, PAGE_SCRIPTS)
    words = [word for word in WORDS[script] if len(word) <= _LONGEST]
    number = int(rng.integers(2, MOST_LINES + 1)) if layout == "two-column slide" else int(rng.integers(1, 4))
    written = [words[int(at)] for at in rng.choice(len(words), number + 1, replace=False)]
    shape = pick(rng, SHAPES) if layout == "poster" else None
    colour = pick(rng, tuple(COLOURS))
    return Page(layout=layout, script=script, title=written[0], lines=tuple(written[1:]), colour=colour, shape=shape)


def render(page: Page, side_px: int, seed: int = 0) -> Printed:
    """Print a page as a square RGB picture. Raises ValueError for a side the world is not drawn at."""
    canvas = Canvas(page.subject_id, side_px, seed, BACKGROUNDS["white"])
    colour = canvas.near(COLOURS[page.colour])
    if page.shape is not None:
        canvas.shape(page.shape, np.array([0.5, 0.24]) + canvas.shift(), 0.2 * canvas.stretch(), colour)
    else:
        canvas.draw.rectangle((0, 0, canvas.side, 0.26 * canvas.side), fill=colour)
    slots = _slots(page)
    size = min(_fitting(text, slot.box, page.script, canvas.side) for text, slot in _body(page, slots))
    lines = [_print(canvas, page.title, slots[0], page.script, None)]
    lines += [_print(canvas, text, slot, page.script, size) for text, slot in _body(page, slots)]
    return Printed(image=canvas.finished(), lines=tuple(lines))


def places(page: Page) -> tuple[Box, ...]:
    """Where the parts of the transcript stand, in shares of the side: the room that each has, not its ink."""
    return tuple(slot.box for slot in _slots(page))


def wording(page: Page, rng: Lot) -> str:
    """All of a page in two sentences, by lot."""
    title, lines = f'"{page.title}"', [f'"{line}"' for line in page.lines]
    listed = lines[0] if len(lines) == 1 else f"{', '.join(lines[:-1])} and {lines[-1]}"
    if page.shape is not None:
        shape = with_article(f"{page.colour} {page.shape}")
        first = pick(rng, (f"A poster with {shape}, titled {title}.", f"A poster titled {title} below {shape}."))
        return f"{first} {pick(rng, ('Under the title:', 'Below it says'))} {listed}."
    columns = " in two columns" if page.layout == "two-column slide" else ""
    band = with_article(f"{page.colour} band")
    first = pick(rng, (f"A slide titled {title} on {band}.", f"A slide with the title {title} on {band}."))
    points = f"{NUMBERS[len(lines)]} point{'s' if len(lines) > 1 else ''}{columns}"
    return f"{first} {points[0].upper()}{points[1:]}: {listed}."


def _problems(page: Page) -> Iterator[str]:
    if page.layout not in LAYOUTS or page.script not in PAGE_SCRIPTS or page.colour not in COLOURS:
        yield f"no such page: {page.layout}, {page.script}, {page.colour}"
    elif page.shape not in (SHAPES if page.layout == "poster" else (None,)):
        yield "a poster has a shape, a slide has none"
    elif not (2 if page.layout == "two-column slide" else 1) <= len(page.lines) <= MOST_LINES:
        yield f"a page has up to {MOST_LINES} lines, and two columns at least two"
    elif not all(part.strip() for part in page.transcript):
        yield "an empty line"


def _slots(page: Page) -> list[_Slot]:
    """The title's, then those of the lines in reading order: from the right where the script is read from there."""
    if page.layout == "poster":
        ink = COLOURS[page.colour] if contrasts(page.colour, "white") else _INK
        title = _Slot((0.06, 0.47, 0.94, 0.66), ink, True)
        return [title, *(_Slot(box, _INK, True) for box in _stacked(0.1, 0.9, 0.68, 0.97, len(page.lines)))]
    title = _Slot((0.06, 0.05, 0.94, 0.21), _PAPER if is_dark(page.colour) else _INK, page.layout == "slide")
    if page.layout == "slide":
        return [title, *(_Slot(box, _INK, False) for box in _stacked(0.1, 0.92, 0.32, 0.94, len(page.lines)))]
    half = (len(page.lines) + 1) // 2
    columns = [(0.06, 0.48), (0.54, 0.96)]
    if page.script in RIGHT_TO_LEFT:
        columns.reverse()
    boxes = [
        box
        for (left, right), number in zip(columns, (half, len(page.lines) - half), strict=True)
        for box in _stacked(left, right, 0.34, 0.34 + 0.28 * half, half)[:number]
    ]
    return [title, *(_Slot(box, _INK, False) for box in boxes)]


def _stacked(left: float, right: float, top: float, bottom: float, number: int) -> list[Box]:
    """So many boxes, one below the other."""
    pitch = min((bottom - top) / number, 0.2)
    return [(left, top + at * pitch, right, top + (at + 0.86) * pitch) for at in range(number)]


def _body(page: Page, slots: list[_Slot]) -> list[tuple[str, _Slot]]:
    return list(zip(page.lines, slots[1:], strict=True))


def _fitting(text: str, box: Box, script: str, side: int) -> int:
    """The largest size, in px, at which a line fits its box."""
    x0, y0, x1, y1 = box
    long = sign_font(script, _TRIAL_PX).getlength(text) / _TRIAL_PX
    return max(6, int(side * min((x1 - x0) / long, (y1 - y0) * 0.95)))


def _print(canvas: Canvas, text: str, slot: _Slot, script: str, size: int | None) -> Box:
    x0, y0, x1, y1 = (edge * canvas.side for edge in slot.box)
    font = sign_font(script, size or _fitting(text, slot.box, script, canvas.side))
    seen = text[::-1] if script in RIGHT_TO_LEFT else text  # the layout engine knows no direction
    dx, dy = canvas.shift() * canvas.side / 2
    x, side_of = ((x0 + x1) / 2, "m") if slot.centred else (x1, "r") if script in RIGHT_TO_LEFT else (x0, "l")
    at = (float(x + dx), float((y0 + y1) / 2 + dy))
    canvas.draw.text(at, seen, font=font, fill=canvas.near(slot.colour), anchor=f"{side_of}m")
    box = canvas.draw.textbbox(at, seen, font=font, anchor=f"{side_of}m")
    left, top, right, bottom = (edge / canvas.side for edge in box)
    return left, top, right, bottom
