"""From a scene to its picture, and to what is where in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from io import BytesIO

import numpy as np
from PIL import Image, ImageFont

from model.miniature.canvas import Box, Canvas
from model.miniature.scene import Line, Scene, Thing
from model.miniature.vocabulary import (
    BACKGROUNDS,
    COLOURS,
    GRID,
    RIGHT_TO_LEFT,
    ROWS,
    SIZES,
    column_of,
    row_of,
)

# A line's height, and the widest it may be, in shares of the side; a sign is at most so high and wide.
_LINE_HIGH, _LINE_WIDE = 0.24, 0.92
_LEADING = 1.05  # from one sign to the next below it, in heights
_TRIAL_PX = 200  # text is measured at this size, where a pixel does not matter


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """`things` and `lines`: the box of each, in the order of the scene."""

    image: Image.Image
    things: tuple[Box, ...]
    lines: tuple[Box, ...]


def render(scene: Scene, side_px: int, seed: int = 0, chance_of: str | None = None) -> Rendered:
    """Draw a scene as a square RGB picture. Raises ValueError for a side the world is not drawn at.

    `chance_of`: the `subject_id` of what an edit began with, whose hair's breadths the rest keeps; None: the scene's own.
    """
    canvas = Canvas(chance_of or scene.subject_id, side_px, seed, BACKGROUNDS[scene.background])
    things = tuple(_thing(canvas, thing) for thing in scene.things)
    lines = tuple(_line(canvas, line, at) for at, line in enumerate(scene.lines))
    return Rendered(image=canvas.finished(), things=things, lines=lines)


def _thing(canvas: Canvas, thing: Thing) -> Box:
    canvas.piece(f"cell {thing.cell}")
    middle = (np.array([column_of(thing.cell), row_of(thing.cell)]) + 0.5) / GRID + canvas.shift()
    radius = SIZES[thing.size] / GRID * canvas.stretch()
    return canvas.shape(thing.shape, middle, radius, canvas.near(COLOURS[thing.colour]))


def _line(canvas: Canvas, line: Line, number: int) -> Box:
    canvas.piece(f"line {number}" if number else "line")
    colour, shift = canvas.near(COLOURS[line.colour]), canvas.shift() * canvas.side
    font, places = typeset(line, canvas.side)
    boxes = []
    for sign, (x, y) in places:
        at = (x + shift[0], y + shift[1])
        canvas.draw.text(at, sign, font=font, fill=colour, anchor="mm")
        boxes.append(canvas.draw.textbbox(at, sign, font=font, anchor="mm"))
    corners = np.array(boxes) / canvas.side
    (x0, y0), (x1, y1) = corners[:, :2].min(axis=0), corners[:, 2:].max(axis=0)
    return float(x0), float(y0), float(x1), float(y1)


def typeset(line: Line, side: int) -> tuple[ImageFont.FreeTypeFont, list[tuple[str, tuple[float, float]]]]:
    """The font, and each sign with its middle in px, as the eye meets them: from the left, or from the top.

    Signs stand side by side, or one below the other, as large as the place allows. Blanks are left out.
    """
    signs = list(reversed(line.text)) if line.script in RIGHT_TO_LEFT else list(line.text)
    trial = sign_font(line.script, _TRIAL_PX)
    lengths = [trial.getlength(sign) for sign in signs]
    long = len(signs) * _TRIAL_PX * _LEADING if line.is_vertical else sum(lengths)
    high = max(lengths) if line.is_vertical else _TRIAL_PX
    font = sign_font(line.script, max(6, round(_TRIAL_PX * side * min(_LINE_WIDE / long, _LINE_HIGH / high))))
    if line.is_vertical:
        offsets = [(at - (len(signs) - 1) / 2) * font.size * _LEADING for at in range(len(signs))]
        middles = [(side / 2, side / 2 + offset) for offset in offsets]
    else:
        lengths = [font.getlength(sign) for sign in signs]
        starts = (side - sum(lengths)) / 2 + np.concatenate([[0.0], np.cumsum(lengths)[:-1]])
        y = (ROWS.index(line.row) + 0.5) / GRID * side
        middles = [(float(start) + length / 2, y) for start, length in zip(starts, lengths, strict=True)]
    return font, [(sign, middle) for sign, middle in zip(signs, middles, strict=True) if sign != " "]


_FONTS: Mapping[str, str] = {"han": "han.otf", "han vertical": "han.otf"}


@lru_cache(maxsize=64)
def sign_font(script: str, size_px: int) -> ImageFont.FreeTypeFont:
    """The font that a script is written in."""
    data = _font_file(_FONTS.get(script, "letters.ttf"))
    # Sign by sign: no layout engine decides about order or ligatures, so every machine draws the same.
    return ImageFont.truetype(BytesIO(data), size_px, layout_engine=ImageFont.Layout.BASIC)


@lru_cache
def _font_file(name: str) -> bytes:
    return files("model.miniature.fonts").joinpath(name).read_bytes()
