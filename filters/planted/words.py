"""Words for posters, slides, diagrams and documents; and the one font everything is set in.

The font is Aileron, which ships inside Pillow (public domain, CC0): nothing is downloaded, nothing is searched for,
so the same seed sets the same glyphs on every machine with FreeType.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from PIL import ImageFont

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
Rng = np.random.Generator


def _listed(text: str, separator: str | None = None) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(separator))


ADJECTIVES = _listed(
    """Silent Winter Golden Northern Hidden Electric Broken Coastal Midnight Crimson Open Secret Distant Modern Ancient
    Velvet Copper Wandering Little Second Paper Summer Frozen Bright Quiet Royal Urban Wild Lunar Solar"""
)
NOUNS = _listed(
    """Harbour Orchard Lantern Mountain Festival Garden Machine Theatre River Market Forest Library Window Station
    Island Compass Engine Harvest Museum Bridge Meadow Workshop Horizon Archive Concert Voyage Kitchen Atlas Signal
    Canyon"""
)
EVENTS = _listed(
    """Exhibition Lecture Concert Workshop Screening Reading Auction Marathon Conference Opening Debate Recital
    Premiere Fair"""
)
CITIES = _listed(
    "Lisbon Oslo Kyoto Quito Dakar Turin Perth Havana Tallinn Geneva Bergen Lagos Denver Hanoi Krakow Izmir Cork Lima"
)
MONTHS = _listed("January February March April May June July August September October November December")
PEOPLE = _listed(
    """Mara Olsen, Ivan Petit, Chidi Okafor, Lena Brandt, Yuki Mori, Paula Reyes, Tom Hadley, Aisha Khan, Nils Berg,
    Rosa Conti""",
    ",",
)
_TOPICS = _listed(
    """data water energy model memory transport market season growth network climate sound theory pressure language
    river signal budget method sample region history volume surface carbon traffic village harvest control pattern"""
)
_VERBS = _listed("shows follows limits replaces improves measures explains delays supports reduces carries predicts")
_TAILS = _listed(
    """in most cases, over ten years, at low cost, for every region, under load, before winter, since the survey,
    by a third, without delay, across the coast, during the trial, as expected""",
    ",",
)


@lru_cache(maxsize=256)
def font(size_px: int) -> Font:
    """The bundled Latin font at a size in pixels (at least 6)."""
    return ImageFont.load_default(max(6, size_px))


def pick(rng: Rng, words: tuple[str, ...]) -> str:
    return words[int(rng.integers(len(words)))]


def title(rng: Rng) -> str:
    return f"{pick(rng, ADJECTIVES)} {pick(rng, NOUNS)}"


def date(rng: Rng) -> str:
    return f"{int(rng.integers(1, 29))} {pick(rng, MONTHS)} {int(rng.integers(2019, 2031))}"


def sentence(rng: Rng) -> str:
    objects = f"{pick(rng, _TOPICS)} {pick(rng, _TOPICS)}"
    head = f"{pick(rng, ADJECTIVES)} {pick(rng, _TOPICS)} {pick(rng, _VERBS)} the {objects}"
    return f"{head} {pick(rng, _TAILS)}."


def bullet(rng: Rng) -> str:
    return f"{pick(rng, _TOPICS).capitalize()} {pick(rng, _VERBS)} {pick(rng, _TOPICS)} {pick(rng, _TAILS)}"


def label(rng: Rng) -> str:
    return f"{pick(rng, _TOPICS)} {pick(rng, _TOPICS)}".title()


def fit(text: str, width_px: float, size_px: int) -> Font:
    """The font at `size_px`, or smaller so that `text` is no wider than `width_px`."""
    wide = font(size_px).getlength(text)
    return font(size_px) if wide <= width_px else font(int(size_px * width_px / wide))


def wrap(text: str, width_px: float, face: Font) -> list[str]:
    """Lines no wider than `width_px`, broken at spaces."""
    lines: list[str] = []
    line = ""
    for word in text.split():
        longer = f"{line} {word}".strip()
        if line and face.getlength(longer) > width_px:
            lines.append(line)
            line = word
        else:
            line = longer
    return [*lines, line] if line else lines
