"""What every picture of the world is drawn on: finer than asked for, and with the little that chance may move.

What a record leaves open (a hair's breadth of place, size and colour) comes from the seed: it has many pictures, and
(record, side, seed) has one. Of pieces each has a lot of its own, so that an edit leaves alone what it does not name.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from flywheel.seeds import stable_hash
from model.miniature.outlines import outline
from model.miniature.vocabulary import RGB

Box = tuple[float, float, float, float]  # x0, y0, x1, y1 in 0..1 of the picture
Place = npt.NDArray[np.float64]  # x, y in 0..1 of the picture

MIN_SIDE_PX, MAX_SIDE_PX = 64, 2048
# What the seed may move. Places in shares of the side: 1.5 of 96 px; sizes in shares; colours in levels. Our choice.
_PLACE, _SIZE, _COLOUR, _GROUND = 1.5 / 96, 0.04, 8, 6
# Drawn this much larger and averaged down, so that edges are as soft as a camera's: up to which side.
_SUPERSAMPLING = ((256, 4), (1024, 2), (MAX_SIDE_PX, 1))


class Canvas:
    """A square RGB picture in the making. Raises ValueError for a side that the world is not drawn at."""

    def __init__(self, record_id: str, side_px: int, seed: int, ground: RGB) -> None:
        if not MIN_SIDE_PX <= side_px <= MAX_SIDE_PX:
            raise ValueError(f"the world is drawn at {MIN_SIDE_PX} to {MAX_SIDE_PX} px, not at {side_px}")
        self._chance: tuple[str, int] = (record_id, seed)
        self._rng = self._lot()
        self._finer = next(times for limit, times in _SUPERSAMPLING if side_px <= limit)
        self.side = side_px * self._finer
        self._image = Image.new("RGB", (self.side, self.side), self.near(ground, _GROUND))
        self.draw = ImageDraw.Draw(self._image)

    def piece(self, name: str) -> None:
        """From here on chance is this piece's own: it looks the same whatever else there is."""
        self._rng = self._lot(name)

    def near(self, colour: RGB, levels: int = _COLOUR) -> RGB:
        """A colour that nobody would call another."""
        red, green, blue = np.clip(np.array(colour) + self._rng.integers(-levels, levels + 1, 3), 0, 255)
        return int(red), int(green), int(blue)

    def shift(self) -> Place:
        """How far a thing stands from its place."""
        return self._rng.uniform(-_PLACE, _PLACE, 2)

    def stretch(self) -> float:
        """By which factor a thing is larger than its size."""
        return float(1 + self._rng.uniform(-_SIZE, _SIZE))

    def shape(self, name: str, middle: Place, radius: float, colour: RGB) -> Box:
        """Fill an outline of so large a circle, both in shares of the side; what was drawn before shows in a hole."""
        outer, *holes = [points * radius + middle for points in outline(name)]
        # One closed line around the edge and back around the hole leaves it uncut.
        around = [np.concatenate([edge, edge[:1]]) for edge in (outer, *(hole[::-1] for hole in holes))]
        self.draw.polygon([tuple(point) for point in np.concatenate(around) * self.side], fill=colour)
        (x0, y0), (x1, y1) = outer.min(axis=0), outer.max(axis=0)
        return float(x0), float(y0), float(x1), float(y1)

    def finished(self) -> Image.Image:
        return self._image.reduce(self._finer) if self._finer > 1 else self._image

    def _lot(self, *piece: str) -> np.random.Generator:
        return np.random.default_rng(int(stable_hash([*self._chance, *piece]), 16))
