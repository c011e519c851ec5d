"""Words over pictures, as small as print gets: what an autoencoder loses first.

In the report's way (VAE-2.0, sec. 4): on backgrounds taken from pictures, because black on white teaches little about anything else.
Latin words and, where the font has them, Chinese signs, from the fonts that come with the program.
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from model.data.framing import Pixels
from model.miniature.lettering import sign_font
from model.miniature.vocabulary import LETTERS, WORDS

_LEADING, _MARGIN = 1.25, 0.04  # of a line's height; of the side
_WORDS = tuple(word for script in ("latin", "han") for word in WORDS[script])


def written_over(pixels: Pixels, glyph_px: tuple[int, int], lot: np.random.Generator) -> Pixels:
    """A block of lines, each of one height of `glyph_px` (both included), in one ink that differs from what lies below."""
    image = Image.fromarray(pixels)
    draw = ImageDraw.Draw(image)
    side = image.width
    y, edge = round(side * _MARGIN), round(side * _MARGIN)
    size = int(lot.integers(glyph_px[0], glyph_px[1] + 1))
    below = float(pixels[..., :3].mean())
    ink = tuple(int(level) for level in lot.integers(0, 90, 3) + (165 if below < 128 else 0))
    while y + size <= side - edge:
        x = edge
        while x < side - edge - size:
            word = _word(lot)
            font = sign_font("han" if ord(word[0]) > 0x3000 else "latin", size)
            draw.text((x, y + size / 2), word, font=font, fill=ink, anchor="lm")
            x += round(font.getlength(f"{word} "))
        y += round(size * _LEADING)
    return np.asarray(image)


def _word(lot: np.random.Generator) -> str:
    if lot.random() < 0.5:
        return str(_WORDS[int(lot.integers(len(_WORDS)))])
    return "".join(LETTERS[int(at)] for at in lot.integers(0, len(LETTERS), int(lot.integers(2, 9))))
