"""From a scene to its picture, and to what is where in it.

What a scene leaves open (a hair's breadth of place, size and colour) comes from the seed: a scene has many pictures,
and (scene, side, seed) has one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from io import BytesIO

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from flywheel.seeds import stable_hash
from model.miniature.outlines import outline
from model.miniature.scene import Line, Scene, Thing
from model.miniature.vocabulary import (
    BACKGROUNDS,
    COLOURS,
    GRID,
    RGB,
    RIGHT_TO_LEFT,
    ROWS,
    SIZES,
    column_of,
    row_of,
)

Box = tuple[float, float, float, float]  # x0, y0, x1, y1 in 0..1 of the picture

MIN_SIDE_PX, MAX_SIDE_PX = 64, 2048
# What the seed may move. Places in shares of the side: 1.5 of 96 px; sizes in shares; colours in levels. Our choice.
_PLACE, _SIZE, _COLOUR, _GROUND = 1.5 / 96, 0.04, 8, 6
# A line's height, and the widest it may be, in shares of the side; a sign is at most so high and wide.
_LINE_HIGH, _LINE_WIDE = 0.24, 0.92
_LEADING = 1.05  # from one sign to the next below it, in heights
# Drawn this much larger and averaged down, so that edges are as soft as a camera's: up to which side.
_SUPERSAMPLING = ((256, 4), (1024, 2), (MAX_SIDE_PX, 1))
_TRIAL_PX = 200  # text is measured at this size, where a pixel does not matter


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """`things` and `lines`: the box of each, in the order of the scene."""

    image: Image.Image
    things: tuple[Box, ...]
    lines: tuple[Box, ...]


def render(scene: Scene, side_px: int, seed: int = 0) -> Rendered:
    """Draw a scene as a square RGB picture. Raises ValueError for a side the world is not drawn at."""
    if not MIN_SIDE_PX <= side_px <= MAX_SIDE_PX:
        raise ValueError(f"the world is drawn at {MIN_SIDE_PX} to {MAX_SIDE_PX} px, not at {side_px}")
    rng = np.random.default_rng(int(stable_hash([scene.scene_id, seed]), 16))
    finer = next(times for limit, times in _SUPERSAMPLING if side_px <= limit)
    side = side_px * finer
    image = Image.new("RGB", (side, side), _near(rng, BACKGROUNDS[scene.background], _GROUND))
    draw = ImageDraw.Draw(image)
    things = tuple(_thing(draw, thing, side, rng) for thing in scene.things)
    lines = tuple(_line(draw, line, side, rng) for line in scene.lines)
    if finer > 1:
        image = image.reduce(finer)
    return Rendered(image=image, things=things, lines=lines)


def _thing(draw: ImageDraw.ImageDraw, thing: Thing, side: int, rng: np.random.Generator) -> Box:
    middle = (np.array([column_of(thing.cell), row_of(thing.cell)]) + 0.5) / GRID + rng.uniform(-_PLACE, _PLACE, 2)
    radius = SIZES[thing.size] / GRID * (1 + rng.uniform(-_SIZE, _SIZE))
    colour = _near(rng, COLOURS[thing.colour], _COLOUR)
    outer, *holes = [points * radius + middle for points in outline(thing.shape)]
    if not holes:
        draw.polygon([tuple(point) for point in outer * side], fill=colour)
    else:  # one closed line around the edge and back around the hole leaves it uncut
        around = [np.concatenate([edge, edge[:1]]) for edge in (outer, *(hole[::-1] for hole in holes))]
        draw.polygon([tuple(point) for point in np.concatenate(around) * side], fill=colour)
    (x0, y0), (x1, y1) = outer.min(axis=0), outer.max(axis=0)
    return float(x0), float(y0), float(x1), float(y1)


def _line(draw: ImageDraw.ImageDraw, line: Line, side: int, rng: np.random.Generator) -> Box:
    colour = _near(rng, COLOURS[line.colour], _COLOUR)
    shift = rng.uniform(-_PLACE, _PLACE, 2) * side
    font, places = typeset(line, side)
    boxes = []
    for sign, (x, y) in places:
        at = (x + shift[0], y + shift[1])
        draw.text(at, sign, font=font, fill=colour, anchor="mm")
        boxes.append(draw.textbbox(at, sign, font=font, anchor="mm"))
    corners = np.array(boxes) / side
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


def _near(rng: np.random.Generator, colour: RGB, levels: int) -> RGB:
    red, green, blue = np.clip(np.array(colour) + rng.integers(-levels, levels + 1, 3), 0, 255)
    return int(red), int(green), int(blue)


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
