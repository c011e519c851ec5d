"""Checker A: matched filters. It serves rewards and triage (design section 9).

What differs from the ground is laid under the shapes and signs that could be there, over the few pixels that the world
leaves open; the best of all candidates must be the one that the scene names. Blur and haze move every candidate's
score alike, so that a picture of an autoencoder is judged as the drawing it shows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import product
from typing import cast

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from model.miniature.grammar import alphabet
from model.miniature.lettering import Lettering, Placed, typeset
from model.miniature.outlines import outline
from model.miniature.scene import Line, Scene, Thing, occupied
from model.miniature.verdict import Verdict
from model.miniature.vocabulary import (
    BACKGROUNDS,
    CELLS,
    COLOURS,
    GRID,
    RGB,
    SHAPES,
    SIZES,
    column_of,
    row_of,
)

Plane = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
Pixels = npt.NDArray[np.float32]  # h x w x 3, 0..255

SIDE_PX = 192
CELL_PX = SIDE_PX // GRID
# How far from its place a thing or a line may stand: the world's jitter, and as much again for who draws it. Our choice.
SLACK_PX, SIGN_SLACK_PX = 7, 2
# A pixel that far from the ground (levels, the channel that differs most) is ink; a cell with less of it is empty.
INK, EMPTY = 48, 0.015
# Ink in the cells of a line that none of its signs explains, as a share of the picture. Our choice.
BESIDE = 0.004
# The least correlation at which something is what it resembles most. Our choice: see the tests for what it tells apart.
LEAST_THING, LEAST_SIGN = 0.8, 0.6
# Beyond this far from every ground or colour (levels, root mean square) it is none of them.
FAR = 60.0
_FINER = 4


def check(scene: Scene, image: Image.Image) -> Verdict:
    """Hold a picture to its scene. Any side; RGB."""
    pixels = np.asarray(image.convert("RGB").resize((SIDE_PX, SIDE_PX), Image.Resampling.BOX), np.float32)
    ground = np.median(pixels.reshape(-1, 3), axis=0)
    ink = np.abs(pixels - ground).max(axis=2)
    facets = {"background": _nearest(ground, BACKGROUNDS) == scene.background, "places": _places(scene, ink)}
    if scene.things:
        seen = [_thing(thing, pixels, ink) for thing in scene.things]
        for at, facet in enumerate(("shapes", "sizes", "colours")):
            facets[facet] = all(one[at] for one in seen)
    if scene.lines:
        read = [_line(line, scene, pixels, ink) for line in scene.lines]
        facets["words"], facets["word colour"] = (all(one[at] for one in read) for at in range(2))
    return Verdict(facets)


def _places(scene: Scene, ink: Plane) -> bool:
    """Ink in the cells of things, none in those of nobody; a line's own cells are looked at with it."""
    reserved = frozenset(cell for line in scene.lines for cell in occupied(line))
    things = {thing.cell for thing in scene.things}
    free = [cell for cell in range(len(CELLS)) if cell not in reserved]
    return all((_ink_share(ink, cell) > EMPTY) == (cell in things) for cell in free)


def _ink_share(ink: Plane, cell: int) -> float:
    """Of a cell less its rim, where a neighbour or a line may reach in."""
    rim = SLACK_PX
    y, x = row_of(cell) * CELL_PX, column_of(cell) * CELL_PX
    return float((ink[y + rim : y + CELL_PX - rim, x + rim : x + CELL_PX - rim] > INK).mean())


def _thing(thing: Thing, pixels: Pixels, ink: Plane) -> tuple[bool, bool, bool]:
    """Shape, size and colour."""
    y, x = row_of(thing.cell) * CELL_PX, column_of(thing.cell) * CELL_PX
    window = _window(ink, x - SLACK_PX, y - SLACK_PX, CELL_PX + 2 * SLACK_PX)
    best: tuple[float, str, str, tuple[int, int]] = (-1.0, "", "", (0, 0))
    for (shape, size), template in _templates().items():
        score, at = _best(window, template)
        if score > best[0]:
            best = score, shape, size, at
    score, shape, size, at = best
    found = score >= LEAST_THING
    inside = _core(_templates()[shape, size] > 0.5)
    place = _window(pixels, x - SLACK_PX + at[0], y - SLACK_PX + at[1], CELL_PX)
    colour = _nearest(np.median(place[inside], axis=0), COLOURS)
    return found and shape == thing.shape, found and size == thing.size, found and colour == thing.colour


def _line(line: Line, scene: Scene, pixels: Pixels, ink: Plane) -> tuple[bool, bool]:
    """Whether every sign is the right one with nothing beside them, and whether they have their colour."""
    own = _own(line, scene)
    inked = np.where(own, ink, 0).astype(np.float32)
    lettering, places = typeset(line, SIDE_PX)
    score, at = _best(_window(inked, -SLACK_PX, -SLACK_PX, SIDE_PX + 2 * SLACK_PX), _written(lettering, places))
    places = [(sign, (x + at[0] - SLACK_PX, y + at[1] - SLACK_PX)) for sign, (x, y) in places]
    written = _written(lettering, places)
    found = score >= LEAST_SIGN
    right = found and all(_is_sign(at, places, lettering, inked) for at in range(len(places)))
    beside = own & (ink > INK) & (cv2.dilate(written, np.ones((7, 7), np.uint8)) < 0.1)
    strokes = _core(written > 0.5)
    strokes = strokes if strokes.any() else written > 0.5
    full = strokes & (inked >= np.median(inked[strokes]))  # thin strokes that lost sharpness are paler at their edges
    colour = _nearest(np.median(pixels[full], axis=0), COLOURS)
    return right and float(beside.mean()) < BESIDE, found and colour == line.colour


def _own(line: Line, scene: Scene) -> Mask:
    """The cells of the line, less where a thing beside them may reach over its rim."""
    own = np.zeros((SIDE_PX, SIDE_PX), np.bool_)
    for cell in occupied(line):
        own[_cell(cell, 0)] = True
    for thing in scene.things:
        own[_cell(thing.cell, SLACK_PX)] = False
    return own


def _cell(cell: int, around: int) -> tuple[slice, slice]:
    y, x = row_of(cell) * CELL_PX, column_of(cell) * CELL_PX
    return tuple(slice(max(0, at - around), at + CELL_PX + around) for at in (y, x))  # type: ignore[return-value]


def _is_sign(at: int, places: Sequence[Placed], lettering: Lettering, inked: Plane) -> bool:
    """Whether of all signs of the script, each between the neighbours that should be there, the right one fits best."""
    sign, (x, y) = places[at]
    reach = _reach(lettering)
    left, top, side = round(x) - reach, round(y) - reach, 2 * reach + 1
    window = _window(inked, left - SIGN_SLACK_PX, top - SIGN_SLACK_PX, side + 2 * SIGN_SLACK_PX)
    beside = _window(_written(lettering, [*places[:at], *places[at + 1 :]]), left, top, side)
    scores = {
        other: _best(window, np.maximum(beside, _alone(lettering, other)))[0] for other in alphabet(lettering.script)
    }
    return max(scores, key=lambda other: scores[other]) == sign and scores[sign] >= LEAST_SIGN


def _best(window: Plane, template: Plane) -> tuple[float, tuple[int, int]]:
    """The highest correlation of the template in the window, and where (x, y)."""
    scores = cv2.matchTemplate(window, template, cv2.TM_CCOEFF_NORMED)
    _, best, _, at = cv2.minMaxLoc(scores)
    return float(best) if np.isfinite(best) else -1.0, (int(at[0]), int(at[1]))


def _window(plane: npt.NDArray[np.float32], x: int, y: int, side: int) -> npt.NDArray[np.float32]:
    """A square of the plane; what lies outside is empty."""
    room = side + SLACK_PX
    padded = np.pad(plane, ((room, room), (room, room), *[(0, 0)] * (plane.ndim - 2)))
    return padded[y + room : y + room + side, x + room : x + room + side]


def _nearest(colour: npt.NDArray[np.float32], names: Mapping[str, RGB]) -> str | None:
    apart = {name: float(np.sqrt(np.mean((colour - np.array(value)) ** 2))) for name, value in names.items()}
    name = min(apart, key=lambda one: apart[one])
    return name if apart[name] <= FAR else None


def _core(mask: Mask) -> Mask:
    """A shape without its edge, where colours mix."""
    return cast(Mask, cv2.erode(mask.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0)


@lru_cache
def _templates() -> dict[tuple[str, str], Plane]:
    return {(shape, size): _drawn(shape, SIZES[size] / GRID) for shape, size in product(SHAPES, SIZES)}


def _drawn(shape: str, radius: float) -> Plane:
    canvas = Image.new("L", (CELL_PX * _FINER, CELL_PX * _FINER))
    draw = ImageDraw.Draw(canvas)
    for fill, points in zip((255, 0), outline(shape), strict=False):
        placed = (points * radius * SIDE_PX + CELL_PX / 2) * _FINER
        draw.polygon([tuple(point) for point in placed], fill=fill)
    return _ink_of(canvas.reduce(_FINER))


def _written(lettering: Lettering, places: Sequence[Placed]) -> Plane:
    canvas = Image.new("L", (SIDE_PX, SIDE_PX))
    draw = ImageDraw.Draw(canvas)
    for sign, at in places:
        lettering.write(draw, sign, at, 255)
    return _ink_of(canvas)


def _reach(lettering: Lettering) -> int:
    """Half the side, less one px, of the square that `_is_sign` looks at."""
    return round(lettering.em_px * 0.6)


@lru_cache(maxsize=4096)
def _alone(lettering: Lettering, sign: str) -> Plane:
    """A sign in the middle of its square."""
    reach = _reach(lettering)
    canvas = Image.new("L", (2 * reach + 1, 2 * reach + 1))
    lettering.write(ImageDraw.Draw(canvas), sign, (reach, reach), 255)
    return _ink_of(canvas)


def _ink_of(canvas: Image.Image) -> Plane:
    return np.asarray(canvas, np.float32) * np.float32(1 / 255)
