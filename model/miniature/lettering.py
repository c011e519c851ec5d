"""How a line is set: every sign in a slot of its own, from where its script begins, so that it stands where its number says.

A row has six slots (four in Han, more where a line is longer), whatever is written in it: half a cell each, at 96 px one token of
the generator's. Tiny generators learn words then; with the font's own widths, in the middle of the row, they did not: where a sign
stood depended on all others. What is wider than its slot is narrowed, as in condensed type. Our choice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from io import BytesIO

from PIL import Image, ImageDraw, ImageFont

from model.miniature.scene import Line
from model.miniature.vocabulary import GRID, RGB, RIGHT_TO_LEFT, ROWS

Place = tuple[float, float]  # the middle of a sign, x and y in px
Placed = tuple[str, Place]

_EM_HIGH = 0.24  # at most, in shares of the side. Our choice, as all that follows
_LEAST_PX = 6
_FONTS: Mapping[str, str] = {"han": "han.otf", "han vertical": "han.otf"}


@dataclass(frozen=True, slots=True)
class _Slots:
    """`least`: how many a row has, or more where a line has more signs. In slots: how high an em is, how wide a sign may be."""

    least: int
    em: float
    widest: float


_LETTERS, _SQUARES = _Slots(2 * GRID, em=1.3, widest=0.86), _Slots(4, em=0.92, widest=1.0)
_SLOTS: Mapping[str, _Slots] = {
    "latin": _LETTERS,
    "cyrillic": _LETTERS,
    "hebrew": _Slots(2 * GRID, em=1.45, widest=0.86),
    "han": _SQUARES,
    "han vertical": _SQUARES,
}


@dataclass(frozen=True, slots=True)
class Lettering:
    """Signs of a script, of one height; `widest_px`: what none is wider than."""

    script: str
    em_px: int
    widest_px: float

    def narrowed(self, sign: str) -> float:
        """By which factor a sign is narrower than its font has it."""
        return min(1.0, self.widest_px / sign_font(self.script, self.em_px).getlength(sign))

    def write(self, draw: ImageDraw.ImageDraw, sign: str, at: Place, ink: RGB | int) -> None:
        """One sign, with its middle there."""
        font, by = sign_font(self.script, self.em_px), self.narrowed(sign)
        if by == 1:
            draw.text(at, sign, font=font, fill=ink, anchor="mm")
            return
        mask = _narrow(self.script, self.em_px, sign, by)
        draw.bitmap((round(at[0] - mask.width / 2), round(at[1] - mask.height / 2)), mask, fill=ink)

    def box(self, draw: ImageDraw.ImageDraw, sign: str, at: Place) -> tuple[float, float, float, float]:
        """x0, y0, x1, y1 in px of what `write` draws."""
        x0, y0, x1, y1 = draw.textbbox(at, sign, font=sign_font(self.script, self.em_px), anchor="mm")
        by = self.narrowed(sign)
        return at[0] + (x0 - at[0]) * by, y0, at[0] + (x1 - at[0]) * by, y1


def typeset(line: Line, side: int) -> tuple[Lettering, list[Placed]]:
    """The letters, and each sign with its middle in px, as it is read; blanks are left out.

    Signs stand side by side from the left, or the right, or one below the other from the top.
    """
    slots = _SLOTS[line.script]
    slot = side / max(slots.least, len(line.text))
    along = [(at + 0.5) * slot for at in range(len(line.text))]
    if line.script in RIGHT_TO_LEFT:
        along = [side - at for at in along]
    across = side / 2 if line.is_vertical else (ROWS.index(line.row) + 0.5) / GRID * side
    middles = [(across, at) if line.is_vertical else (at, across) for at in along]
    placed = [(sign, middle) for sign, middle in zip(line.text, middles, strict=True) if sign != " "]
    em = max(_LEAST_PX, round(min(slot * slots.em, side * _EM_HIGH)))
    return Lettering(line.script, em, slot * slots.widest), placed


@lru_cache(maxsize=64)
def sign_font(script: str, size_px: int) -> ImageFont.FreeTypeFont:
    """The font that a script is written in."""
    data = _font_file(_FONTS.get(script, "letters.ttf"))
    # Sign by sign: no layout engine decides about order or ligatures, so every machine draws the same.
    return ImageFont.truetype(BytesIO(data), size_px, layout_engine=ImageFont.Layout.BASIC)


@lru_cache(maxsize=1024)
def _narrow(script: str, em_px: int, sign: str, by: float) -> Image.Image:
    """The sign alone, its middle in the middle."""
    wide = 2 * em_px
    whole = Image.new("L", (wide, wide))
    ImageDraw.Draw(whole).text((wide / 2, wide / 2), sign, font=sign_font(script, em_px), fill=255, anchor="mm")
    return whole.resize((round(wide * by), wide), Image.Resampling.BOX)


@lru_cache
def _font_file(name: str) -> bytes:
    return files("model.miniature.fonts").joinpath(name).read_bytes()
