"""The shapes of things, as filled polygons in a circle of radius one around the origin; y points down, as in pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

Points = npt.NDArray[np.float64]  # n x 2: x, y

_ROUND = 96  # corners of a circle: none can be seen at 2048 px
RING_HOLE = 0.55
_STAR_WAIST = 0.42
_CROSS_ARM = 0.34


def outline(shape: str) -> Sequence[Points]:
    """The outer edge, and then what is cut out of it. Raises KeyError for an unknown shape."""
    return _OUTLINES[shape]()


def _regular(corners: int, radius: float = 1.0, first: float = -np.pi / 2) -> Points:
    angle = first + 2 * np.pi * np.arange(corners) / corners
    return np.asarray(radius * np.stack((np.cos(angle), np.sin(angle)), axis=1))


def _lower(points: Points, by: float) -> Points:
    """So that what is drawn, and not its circle, stands in the middle."""
    return np.asarray(points + np.array([0.0, by]))


def _star() -> Points:
    points = np.empty((10, 2))
    points[::2] = _regular(5)
    points[1::2] = _regular(5, _STAR_WAIST, -np.pi / 2 + np.pi / 5)
    return points


def _heart() -> Points:
    t = np.linspace(0, 2 * np.pi, _ROUND, endpoint=False)
    x = 16 * np.sin(t) ** 3
    y = -(13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t))
    points = np.stack((x, y), axis=1)
    points -= (points.min(axis=0) + points.max(axis=0)) / 2
    return np.asarray(points / np.abs(points).max() * 0.92)


def _cross() -> Points:
    one, arm = 0.94, _CROSS_ARM
    corners = [(-arm, -one), (arm, -one), (arm, -arm), (one, -arm), (one, arm), (arm, arm)]
    return np.array(corners + [(-x, -y) for x, y in corners])


_OUTLINES: Mapping[str, Callable[[], Sequence[Points]]] = {
    "circle": lambda: [_regular(_ROUND, 0.94)],
    "square": lambda: [_regular(4, 1.16, np.pi / 4)],
    "triangle": lambda: [_lower(_regular(3, 1.1), 0.12)],
    "star": lambda: [_lower(_star() * 1.08, 0.06)],
    "ring": lambda: [_regular(_ROUND), _regular(_ROUND, RING_HOLE)],
    "heart": lambda: [_heart()],
    "cross": lambda: [_cross()],
}
