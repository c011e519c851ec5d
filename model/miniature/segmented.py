"""Checker B, for the gate and the report: cut the picture into ground, things and ink, and measure each piece.

Written without a look at checker A, so that one mistake does not hide in both. Nothing is searched for: what stands in a cell
is described (how much of it, how far it reaches in each direction, what lies in its middle, which way its colour points from
the ground) and the description is held to the world's own. Our choice of measures; tests hold the shares of wrong verdicts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from model.miniature.grammar import alphabet
from model.miniature.lettering import Lettering, Placed, typeset
from model.miniature.outlines import outline
from model.miniature.scene import Line, Scene, Thing, occupied
from model.miniature.verdict import Verdict
from model.miniature.vocabulary import BACKGROUNDS, CELLS, COLOURS, GRID, ROWS, SHAPES, SIZES, column_of, row_of

Plane = npt.NDArray[np.float32]  # height x width, or x 3 for colours

_SIDE = 192  # every picture is judged at this side
_CELL = _SIDE // GRID
_FINER = 2  # signs are drawn so much larger: their size is cut to whole px
_SOFTENED = 1.2  # px: takes noise and leaves edges
_BLURS = (0.0, 1.5, 2.6)  # px: what a picture may have lost in sharpness
_GROUND_OFF = 45.0  # levels (Euclidean) between a ground and its name
_INK_FROM = 42.0  # levels from the ground where a pixel counts as ink
_EMPTY = 0.03  # share of a cell that ink may cover and nothing stands there
_TURNED = 0.30  # radians between the directions of a colour and of its name, seen from the ground
_PALE = 0.6  # of the way from the ground to its colour that the core of a thing has to reach
_SHAPE_OFF, _SIZE_OFF = 0.15, 0.19  # of a profile; of a radius
_SIGN_OFF = 0.5  # of a sign: ink that differs to all ink
_BESIDE = 0.12  # ink beside the signs, to all ink of the line
_STEPS = (-2, -1, 0, 1, 2)  # px that a sign may stand aside: other signs beside it move it
_FAINT = 0.25  # ink that may be noise
_RAYS, _REACH = 72, 40  # of a profile: directions, and samples along each


@dataclass(frozen=True, slots=True)
class _Picture:
    """`off`: colours less the ground's, (side, side, 3). `far`: how far that is, in levels."""

    ground: Plane
    off: Plane
    far: Plane


def check(scene: Scene, image: Image.Image) -> Verdict:
    """Hold a square picture of any side to its scene."""
    picture = _cut(image)
    name = min(BACKGROUNDS, key=lambda one: _levels(picture.ground, BACKGROUNDS[one]))
    facets = {"background": name == scene.background and _levels(picture.ground, BACKGROUNDS[name]) < _GROUND_OFF}
    facets["places"] = _standing(picture, scene) == {thing.cell for thing in scene.things}
    if scene.things:
        seen = [_described(picture, thing) for thing in scene.things]
        for at, facet in enumerate(("shapes", "sizes", "colours")):
            facets[facet] = all(one[at] for one in seen)
    if scene.lines:
        read = [_read(picture, line) for line in scene.lines]
        facets["words"], facets["word colour"] = (all(one[at] for one in read) for at in range(2))
    return Verdict(facets)


def _cut(image: Image.Image) -> _Picture:
    how = Image.Resampling.BICUBIC if image.width < _SIDE else Image.Resampling.BOX
    pixels = np.asarray(image.convert("RGB").resize((_SIDE, _SIDE), how), np.float32)
    pixels = cv2.GaussianBlur(pixels, (0, 0), _SOFTENED)
    edge = np.concatenate([pixels[:4].reshape(-1, 3), pixels[-4:].reshape(-1, 3)])
    edge = np.concatenate([edge, pixels[:, :4].reshape(-1, 3), pixels[:, -4:].reshape(-1, 3)])
    ground = np.median(edge, axis=0).astype(np.float32)
    off = pixels - ground
    return _Picture(ground, off, np.linalg.norm(off, axis=2).astype(np.float32))


def _standing(picture: _Picture, scene: Scene) -> set[int]:
    """Cells that hold ink and no line."""
    written = {cell for line in scene.lines for cell in occupied(line)}
    free = [cell for cell in range(len(CELLS)) if cell not in written]
    return {cell for cell in free if (picture.far[_window(cell)] > _INK_FROM).mean() > _EMPTY}


def _described(picture: _Picture, thing: Thing) -> tuple[bool, bool, bool]:
    """Whether what stands in the thing's cell has its shape, its size, its colour."""
    off, far = picture.off[_window(thing.cell)], picture.far[_window(thing.cell)]
    if (far > _INK_FROM).mean() <= _EMPTY:
        return False, False, False
    core = off[far >= np.quantile(far[far > _INK_FROM], 0.5)].mean(axis=0)
    colour = _named_colour(core, picture.ground)
    wanted = np.array(COLOURS[thing.colour], np.float32) - picture.ground
    full = float(np.linalg.norm(core)) > _PALE * float(np.linalg.norm(wanted))
    ink = _ink(off, core)
    shape, apart = min(((name, _apart(ink, name)) for name in SHAPES), key=lambda one: one[1])
    radius = float(np.sqrt(ink.sum() / _area(shape))) / _CELL
    fits = abs(radius / SIZES[thing.size] - 1) < _SIZE_OFF
    return shape == thing.shape and apart < _SHAPE_OFF, fits, colour == thing.colour and full


def _named_colour(core: Plane, ground: Plane) -> str | None:
    """The colour whose direction from the ground is the nearest; None where none is near."""
    named = {name: np.array(rgb, np.float32) - ground for name, rgb in COLOURS.items()}
    turned = {name: _angle(core, direction) for name, direction in named.items()}
    nearest = min(turned, key=lambda name: turned[name])
    return nearest if turned[nearest] < _TURNED else None


def _ink(off: Plane, core: Plane) -> Plane:
    """0..1: how far each pixel has gone from the ground to the colour."""
    along: Plane = off @ (core / float(core @ core))
    return np.clip(along, 0, 1)


def _apart(ink: Plane, shape: str) -> float:
    """How far the ink's description is from the shape's, at the blur that suits it best."""
    seen = _profile(ink)
    return min(float(np.abs(seen - known).mean()) for known in _known_profiles(shape))


def _profile(ink: Plane) -> Plane:
    """How far ink reaches from its middle in each direction, in radii of a disc of as much area; last, and with the weight of
    a fifth of the directions: how empty the middle is."""
    total = max(float(ink.sum()), 1e-6)
    ys, xs = np.indices(ink.shape)
    middle = float((xs * ink).sum() / total), float((ys * ink).sum() / total)
    radius = ink.shape[0] / 2 * 1.3
    polar = cv2.warpPolar(ink, (_REACH, _RAYS), middle, radius, cv2.WARP_POLAR_LINEAR | cv2.WARP_FILL_OUTLIERS)
    filled = np.maximum.accumulate(polar[:, ::-1], axis=1)[:, ::-1]  # what encloses a hole counts as if it were none
    reach = filled.sum(axis=1) * radius / _REACH
    disc = max(float(np.sqrt((reach**2).mean())), 1e-6)
    inner = max(1, round(0.3 * disc / radius * _REACH))
    hollow = np.full(_RAYS // 5, 1 - float(polar[:, :inner].mean()))
    return np.asarray(np.append(reach / disc, hollow), np.float32)


@lru_cache
def _known_profiles(shape: str) -> tuple[Plane, ...]:
    return tuple(_profile(_blurred(_drawn(shape, size * _CELL), blur)) for size in SIZES.values() for blur in _BLURS)


def _drawn(shape: str, radius_px: float) -> Plane:
    """The ink of a shape alone in its cell."""
    finer = 2 * _FINER
    mask = Image.new("L", (_CELL * finer, _CELL * finer), 0)
    outer, *holes = [(points * radius_px + _CELL / 2) * finer for points in outline(shape)]
    draw = ImageDraw.Draw(mask)
    draw.polygon([tuple(point) for point in outer], fill=255)
    for hole in holes:
        draw.polygon([tuple(point) for point in hole], fill=0)
    return np.asarray(np.asarray(mask.reduce(finer)) / 255, np.float32)


@lru_cache
def _area(shape: str) -> float:
    """In squared radii of its circle."""
    radius = 0.4 * _CELL
    return float(_drawn(shape, radius).sum()) / radius**2


def _read(picture: _Picture, line: Line) -> tuple[bool, bool]:
    """Whether the line stands where it should, sign by sign and nothing beside it; whether in its colour."""
    band = _band(line)
    off, far = picture.off[band], picture.far[band]
    inked = far > _INK_FROM
    if inked.mean() < 0.005:
        return False, False
    said = off[inked].mean(axis=0)
    colour = _named_colour(said, picture.ground)
    full = np.array(COLOURS[line.colour], np.float32) - picture.ground
    direction = full if colour == line.colour else said * float(np.linalg.norm(full)) / float(np.linalg.norm(said))
    ink = np.zeros((_SIDE, _SIDE), np.float32)
    ink[band] = _ink(off, direction)
    return _is_spelled(ink, line), colour == line.colour


def _is_spelled(ink: Plane, line: Line) -> bool:
    lettering, finer = typeset(line, _SIDE * _FINER)
    places = [(sign, (x / _FINER, y / _FINER)) for sign, (x, y) in finer]
    whole = _written(lettering, places)
    dx, dy = (float(np.clip(one, -4, 4)) for one in _shift(ink, whole))
    there = cv2.warpAffine(ink, np.array([[1, 0, -dx], [0, 1, -dy]], np.float32), (_SIDE, _SIDE))
    blur = min(_BLURS, key=lambda one: _differing(there, _blurred(whole, one)))
    room = np.zeros_like(ink)
    for _, place in places:
        box = _sign_box(place, lettering.em_px)
        room[box] = 1
    if float(there[(room == 0) & (there > _FAINT)].sum()) > _BESIDE * float(there.sum()):
        return False
    return all(_is_sign(there, lettering, places, at, blur) for at in range(len(places)))


def _is_sign(ink: Plane, lettering: Lettering, places: Sequence[Placed], at: int, blur: float) -> bool:
    """Whether no other sign of the script in this place would leave less that differs, and little is left."""
    sign, place = places[at]
    box = _sign_box(place, lettering.em_px)
    beside = _blurred(_written(lettering, [*places[:at], *places[at + 1 :]]), blur)[box]
    off = {}
    for other in alphabet(lettering.script):
        alone = _blurred(_written(lettering, [(other, place)]), blur)
        moved = (np.roll(alone, step, axis=1)[box] for step in _STEPS)
        off[other] = min(_differing(ink[box], np.maximum(beside, one)) for one in moved)
    return off[sign] < _SIGN_OFF and min(off, key=lambda other: off[other]) == sign


def _written(lettering: Lettering, places: Sequence[Placed]) -> Plane:
    """The ink of signs at their places, of a size in finer px."""
    mask = Image.new("L", (_SIDE * _FINER, _SIDE * _FINER), 0)
    draw = ImageDraw.Draw(mask)
    for sign, (x, y) in places:
        lettering.write(draw, sign, (x * _FINER, y * _FINER), 255)
    return _blurred(np.asarray(np.asarray(mask.reduce(_FINER)) / 255, np.float32), _SOFTENED)


def _shift(ink: Plane, whole: Plane) -> Iterator[float]:
    """From where signs should be to where they are: of the middles of all ink, without what may be noise beside them."""
    ink, whole = (np.where(plane > _FAINT, plane, 0) for plane in (ink, whole))
    ys, xs = np.indices(ink.shape)
    for axis in (xs, ys):
        yield float((axis * ink).sum() / max(ink.sum(), 1e-6) - (axis * whole).sum() / max(whole.sum(), 1e-6))


def _differing(one: Plane, other: Plane) -> float:
    return float(np.abs(one - other).sum() / max(float(one.sum() + other.sum()), 1e-6))


def _sign_box(place: tuple[float, float], size: int) -> tuple[slice, slice]:
    x, y = place
    half, high = size / _FINER * 0.55, size / _FINER * 0.6
    return (
        slice(max(0, round(y - high)), max(1, round(y + high))),
        slice(max(0, round(x - half)), max(1, round(x + half))),
    )


def _band(line: Line) -> tuple[slice, slice]:
    """Where the line has the picture for itself."""
    if line.is_vertical:
        return slice(0, _SIDE), slice(_CELL, 2 * _CELL)
    first = ROWS.index(line.row) * _CELL
    return slice(first, first + _CELL), slice(0, _SIDE)


def _window(cell: int) -> tuple[slice, slice]:
    top, left = row_of(cell) * _CELL, column_of(cell) * _CELL
    return slice(top, top + _CELL), slice(left, left + _CELL)


def _blurred(plane: Plane, px: float) -> Plane:
    return np.asarray(cv2.GaussianBlur(plane, (0, 0), px), np.float32) if px else plane


def _levels(one: Plane, rgb: tuple[int, int, int]) -> float:
    return float(np.linalg.norm(one - np.array(rgb, np.float32)))


def _angle(one: Plane, other: Plane) -> float:
    cosine = float(one @ other) / max(float(np.linalg.norm(one) * np.linalg.norm(other)), 1e-6)
    return float(np.arccos(np.clip(cosine, -1, 1)))
