"""Which scenes there are, and how one is drawn by lot.

A kind says how many things and lines a scene has and what its captions may lean on: `pair` things are neighbours, so
that a relation names the place of one of them; `many` things are alike, so that only their number tells scenes apart.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import cache
from itertools import product
from math import comb

import numpy as np

from model.miniature.lot import pick
from model.miniature.scene import Line, Scene, Thing, occupied
from model.miniature.vocabulary import (
    BACKGROUNDS,
    CELLS,
    COLOURS,
    LETTERS,
    RELATIONS,
    ROWS,
    SCRIPTS,
    SHAPES,
    SIZES,
    WORDS,
    column_of,
    contrasts,
    row_of,
)

LOOKS = tuple(product(SIZES, COLOURS, SHAPES))
# Of ten latin lines seven are letters by lot, one to five of them: those must be read, a known word may be guessed.
RANDOM_LETTERS, MOST_LETTERS = 0.7, 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """`things`: how many; `alike`: all of one look; `beside`: the first two are neighbours; `lines`: of words."""

    things: int
    alike: bool = False
    beside: bool = False
    lines: int = 0


KINDS = {
    "one": Kind(things=1),
    "two": Kind(things=2),
    "pair": Kind(things=2, beside=True),
    "three": Kind(things=3),
    "pair and one": Kind(things=3, beside=True),
    "four": Kind(things=4),
    "two alike": Kind(things=2, alike=True),
    "three alike": Kind(things=3, alike=True),
    "four alike": Kind(things=4, alike=True),
    "word": Kind(things=0, lines=1),
    "word and one": Kind(things=1, lines=1),
    "word and two": Kind(things=2, lines=1),
    "two words": Kind(things=0, lines=2),
}
# Two lines are drawn and judged, but only where somebody asks for them: the bundled captioner has not been taught to read them.
USUAL_KINDS = tuple(name for name, kind in KINDS.items() if kind.lines < 2)


def sample(
    rng: np.random.Generator,
    kind: str | None = None,
    *,
    scripts: Collection[str] = SCRIPTS,
    held_out: Collection[tuple[str, str]] = (),
) -> Scene:
    """A scene by lot; of any of the usual kinds, all equally likely, where none is named.

    No thing has a (colour, shape) that is `held_out`. Raises KeyError for a kind that is none.
    """
    wanted = KINDS[kind if kind is not None else pick(rng, USUAL_KINDS)]
    background = pick(rng, tuple(BACKGROUNDS))
    lines = _lines(rng, background, tuple(scripts), wanted.lines)
    taken = frozenset(cell for line in lines for cell in occupied(line))
    cells = _cells(rng, wanted, [cell for cell in range(len(CELLS)) if cell not in taken])
    allowed = [look for look in LOOKS if (look[1], look[2]) not in held_out]
    looks = [pick(rng, allowed)] * wanted.things if wanted.alike else [pick(rng, allowed) for _ in cells]
    things = tuple(
        Thing(cell=cell, size=size, colour=colour, shape=shape)
        for cell, (size, colour, shape) in zip(cells, looks, strict=True)
    )
    return Scene(background=background, things=things, lines=lines)


def letters(rng: np.random.Generator, most: int) -> str:
    """One to `most` of them by lot."""
    return "".join(pick(rng, tuple(LETTERS)) for _ in range(int(rng.integers(1, most + 1))))


def distinct_scenes(things: int) -> int:
    """How many different scenes of so many things, without a line, there are."""
    looks: int = len(LOOKS) ** things
    return len(BACKGROUNDS) * comb(len(CELLS), things) * looks


@cache
def alphabet(script: str) -> tuple[str, ...]:
    """Every sign that could stand in a line of the script."""
    extra = LETTERS if script == "latin" else ""
    return tuple(dict.fromkeys(sign for text in (*WORDS[script], extra) for sign in text if sign != " "))


def _cells(rng: np.random.Generator, kind: Kind, free: list[int]) -> list[int]:
    if not kind.beside:
        return [int(cell) for cell in rng.choice(free, kind.things, replace=False)]
    pairs = [
        (one, other)
        for one, other in product(free, repeat=2)
        if (row_of(one) - row_of(other), column_of(one) - column_of(other)) in RELATIONS.values()
    ]
    first = list(pick(rng, pairs))
    rest = [cell for cell in free if cell not in first]
    return first + [int(cell) for cell in rng.choice(rest, kind.things - 2, replace=False)]


def _lines(rng: np.random.Generator, background: str, scripts: tuple[str, ...], number: int) -> tuple[Line, ...]:
    """In rows of their own; no text twice. Vertical writing leaves no room for another line."""
    if number > 1:
        scripts = tuple(script for script in scripts if script != "han vertical")
    lines: list[Line] = []
    while len(lines) < number:
        line = _line(rng, background, scripts)
        if all(one.text != line.text and not occupied(one) & occupied(line) for one in lines):
            lines.append(line)
    return tuple(lines)


def _line(rng: np.random.Generator, background: str, scripts: tuple[str, ...]) -> Line:
    script = pick(rng, scripts)
    text = pick(rng, WORDS[script])
    if script == "latin" and rng.random() < RANDOM_LETTERS:
        text = letters(rng, MOST_LETTERS)
    row = "middle" if script == "han vertical" else pick(rng, ROWS)
    colour = pick(rng, [name for name in COLOURS if contrasts(name, background)])
    return Line(row=row, text=text, script=script, colour=colour)
