"""A scene: what a picture of the world shows, and nothing about how it happens to be drawn.

Equal scenes are equal, in whatever order they were put together.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

from model.miniature.subject import Subject, SubjectError
from model.miniature.vocabulary import (
    BACKGROUNDS,
    CELLS,
    COLOURS,
    MOST_LINES,
    MOST_THINGS,
    RELATIONS,
    ROWS,
    SCRIPTS,
    SHAPES,
    SIZES,
    column_of,
    row_of,
)


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Thing:
    """An object in a cell of the grid (0 top left to 8 bottom right)."""

    cell: int
    shape: str
    colour: str
    size: str

    @property
    def look(self) -> tuple[str, str, str]:
        return self.size, self.colour, self.shape


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Line:
    """A word or two, in a row of the grid; vertical writing stands in its middle column instead, over all rows."""

    row: str
    text: str
    script: str
    colour: str

    @property
    def is_vertical(self) -> bool:
        return self.script == "han vertical"


@dataclass(frozen=True, slots=True, kw_only=True)
class Relation:
    """`subject` stands beside `other` (both places in `Scene.things`), one cell away."""

    subject: int
    relation: str
    other: int


@dataclass(frozen=True, kw_only=True)
class Scene(Subject):
    """Up to four things and up to two lines, from the top, on a ground. Raises SubjectError for what cannot be drawn apart."""

    background: str
    things: tuple[Thing, ...] = ()
    lines: tuple[Line, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "things", tuple(sorted(self.things)))
        object.__setattr__(self, "lines", tuple(sorted(self.lines, key=_from_the_top)))
        for problem in _problems(self):
            raise SubjectError(problem)

    @property
    def relations(self) -> tuple[Relation, ...]:
        """Every relation that holds between neighbours, told from both sides."""
        return tuple(_relations(self.things))

    def counts(self) -> Mapping[tuple[str, str, str], int]:
        """How many things of each size, colour and shape."""
        return Counter(thing.look for thing in self.things)

    @classmethod
    def from_dict(cls, read: Mapping[str, Any]) -> Self:
        things = tuple(Thing(**thing) for thing in read["things"])
        return cls(background=read["background"], things=things, lines=tuple(Line(**line) for line in read["lines"]))


def occupied(line: Line) -> frozenset[int]:
    """The cells that a line needs for itself."""
    if line.is_vertical:
        return frozenset(cell for cell in range(len(CELLS)) if column_of(cell) == 1)
    return frozenset(cell for cell in range(len(CELLS)) if ROWS[row_of(cell)] == line.row)


def _from_the_top(line: Line) -> tuple[bool, int, Line]:
    return line.row in ROWS, ROWS.index(line.row) if line.row in ROWS else 0, line


def _problems(scene: Scene) -> Iterator[str]:
    if scene.background not in BACKGROUNDS:
        yield f"no background {scene.background!r}"
    if not scene.things and not scene.lines:
        yield "a scene shows something"
    if len(scene.things) > MOST_THINGS or len(scene.lines) > MOST_LINES:
        yield f"at most {MOST_THINGS} things and {MOST_LINES} lines"
    for thing in scene.things:
        known = thing.shape in SHAPES and thing.colour in COLOURS and thing.size in SIZES
        if not known or type(thing.cell) is not int or not 0 <= thing.cell < len(CELLS):
            yield f"no such thing: {thing}"
    for line in scene.lines:
        if line.script not in SCRIPTS or line.colour not in COLOURS or line.row not in ROWS or not line.text.strip():
            yield f"no such line: {line}"
        if line.is_vertical and line.row != "middle":
            yield "a vertical line stands in the middle"
    if len({cell for line in scene.lines for cell in occupied(line)}) < sum(map(len, map(occupied, scene.lines))):
        yield "two lines in one place"
    cells = [thing.cell for thing in scene.things]
    if len(set(cells)) < len(cells):
        yield "two things in one cell"
    if any(occupied(line) & set(cells) for line in scene.lines):
        yield "a thing stands where a line is"


def _relations(things: tuple[Thing, ...]) -> Iterator[Relation]:
    for subject, one in enumerate(things):
        for other, two in enumerate(things):
            apart = row_of(one.cell) - row_of(two.cell), column_of(one.cell) - column_of(two.cell)
            for name, steps in RELATIONS.items():
                if apart == steps:
                    yield Relation(subject=subject, relation=name, other=other)
