"""From a scene to its picture, and to what is where in it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from model.miniature.canvas import Box, Canvas
from model.miniature.lettering import typeset
from model.miniature.scene import Line, Scene, Thing
from model.miniature.vocabulary import (
    BACKGROUNDS,
    COLOURS,
    GRID,
    SIZES,
    column_of,
    row_of,
)


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
    lettering, places = typeset(line, canvas.side)
    boxes = []
    for sign, (x, y) in places:
        at = (x + shift[0], y + shift[1])
        lettering.write(canvas.draw, sign, at, colour)
        boxes.append(lettering.box(canvas.draw, sign, at))
    corners = np.clip(np.array(boxes) / canvas.side, 0, 1)
    (x0, y0), (x1, y1) = corners[:, :2].min(axis=0), corners[:, 2:].max(axis=0)
    return float(x0), float(y0), float(x1), float(y1)
