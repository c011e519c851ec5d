"""What the tokens of a picture are taught to know besides: facet by facet, what stands where.

A vision tower that learns from captions alone spends most of its time on finding out what a caption is about. Told directly,
it sees after minutes. The heads are thrown away afterwards. (The trial behind this world halved its time that way.)

Tokens lie in a square grid; a facet is read from the tokens where it stands: one cell, two neighbouring cells, a row, all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import singledispatch
from itertools import combinations

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from model.miniature.creature import ACCESSORIES, CHOICES, Creature
from model.miniature.diagram import LABELS, Diagram, neighbours
from model.miniature.facts import Emblem
from model.miniature.grammar import alphabet
from model.miniature.page import LAYOUTS, Page, places
from model.miniature.scene import Scene
from model.miniature.subject import Subject
from model.miniature.vocabulary import BACKGROUNDS, CELLS, COLOURS, GRID, LETTERS, ROWS, SCRIPTS, SHAPES, SIZES

MOST_SIGNS = 9  # of a line
SIGNS = tuple(dict.fromkeys(sign for script in SCRIPTS for sign in (*alphabet(script), " ")))
_COLOURS, _SHAPES, _SIZES = tuple(COLOURS), tuple(SHAPES), tuple(SIZES)
PAIRS = tuple((one, other) for one, other in combinations(range(len(CELLS)), 2) if other in neighbours(one))
UNTOLD = -100

Told = tuple[str, int, int]  # facet, place, class; places that nothing is told of are `none`, or untold


@dataclass(frozen=True, slots=True, kw_only=True)
class Facet:
    """`where` names the tokens that it is read from. `silent` is the class of places that nothing is told of."""

    where: str
    places: int
    classes: int
    silent: int


def _named(where: str, places: int, values: int) -> Facet:
    """Places that nothing stands at are a class of their own."""
    return Facet(where=where, places=places, classes=values + 1, silent=values)


def _untold(where: str, places: int, values: int) -> Facet:
    return Facet(where=where, places=places, classes=values, silent=UNTOLD)


FACETS: Mapping[str, Facet] = {
    "background": _untold("all", 1, len(BACKGROUNDS)),
    "shape": _named("cells", len(CELLS), len(_SHAPES)),
    "colour": _untold("cells", len(CELLS), len(_COLOURS)),
    "size": _untold("cells", len(CELLS), len(_SIZES)),
    "node": _named("cells", len(CELLS), len(LETTERS)),
    "arrow": _named("pairs", len(PAIRS), 2),
    "label": _named("pairs", len(PAIRS), len(LABELS)),
    "line": _named("rows", len(ROWS) * MOST_SIGNS, len(SIGNS)),
    "column": _named("middle", MOST_SIGNS, len(SIGNS)),
    "printed": _named("bands", 6 * 2 * MOST_SIGNS, len(SIGNS)),
    "layout": _untold("all", 1, len(LAYOUTS)),
    "colours": _untold("all", 4, len(_COLOURS)),  # rim, field, ink of an emblem; of a page's picture or band
    "charge": _untold("all", 1, len(_SHAPES)),
    "who": _untold("all", len(CHOICES), max(map(len, CHOICES.values()))),
    "worn": _untold("all", 2, max(len(ACCESSORIES), len(_COLOURS))),
}


class FacetHeads(nn.Module):
    """Linear maps from tokens (pictures, side * side, width) to facets. `side` is a multiple of GRID."""

    def __init__(self, width: int, side: int) -> None:
        super().__init__()
        self._side = side
        cell, row = (side // GRID) ** 2 * width, side * width
        wide = {"all": side * row, "cells": cell, "pairs": 2 * cell, "rows": side // GRID * row}
        wide |= {"middle": wide["rows"], "bands": 3 * row}
        self.heads = nn.ModuleDict()
        for name, facet in FACETS.items():
            at_once = facet.places * facet.classes // _pieces(facet)
            self.heads[name] = nn.Linear(wide[facet.where], at_once)

    def forward(self, tokens: Tensor, names: Sequence[str]) -> dict[str, Tensor]:
        """Logits by facet: (pictures, places, classes)."""
        seen = {where: _cut(tokens, self._side, where) for where in {FACETS[name].where for name in names}}
        return {
            name: self.heads[name](seen[FACETS[name].where]).reshape(len(tokens), FACETS[name].places, -1)
            for name in names
        }

    def loss(self, tokens: Tensor, subjects: Sequence[Subject]) -> Tensor:
        """The sum over facets of the mean cross entropy, each over the pictures whose sort has it."""
        total = tokens.new_zeros(())
        for names, chosen in by_sort(subjects):
            logits = self(tokens[torch.tensor(chosen)], names)
            total = total + len(chosen) / len(subjects) * facet_loss(logits, [subjects[at] for at in chosen])
        return total


def facet_loss(logits: Mapping[str, Tensor], subjects: Sequence[Subject], *, silence_apart: bool = False) -> Tensor:
    """The sum over facets of the mean cross entropy over what is told; subjects are all of one sort.

    With `silence_apart` the places that nothing stands at have a mean of their own: most places are empty, and which ones is
    learned long before what stands at the others.
    """
    targets, total = targets_of(subjects, tuple(logits)), torch.zeros(())
    for name, said in logits.items():
        wanted = targets[name].flatten()
        losses = cross_entropy(said.flatten(0, 1), wanted, ignore_index=UNTOLD, reduction="none")
        silent = (wanted == FACETS[name].silent) & silence_apart
        for part in (silent, ~silent & (wanted != UNTOLD)):
            total = total + losses[part].sum() / max(int(part.sum()), 1)
    return total


def facets_of(subject: Subject) -> tuple[str, ...]:
    """The facets that its sort has."""
    return _OF_SORT[type(subject)]


def targets_of(subjects: Sequence[Subject], names: Sequence[str]) -> dict[str, Tensor]:
    """Classes of these facets: (subjects, places); -100 where nothing is told."""
    wanted = {
        name: torch.full((len(subjects), FACETS[name].places), FACETS[name].silent, dtype=torch.long) for name in names
    }
    for at, subject in enumerate(subjects):
        for name, place, value in _told(subject):
            if name in wanted:
                wanted[name][at, place] = value
    return wanted


@singledispatch
def _told(subject: Subject) -> Iterator[Told]:
    raise TypeError(f"no facets of a {type(subject).__name__}")


@_told.register
def _(subject: Scene) -> Iterator[Told]:
    yield "background", 0, list(BACKGROUNDS).index(subject.background)
    for thing in subject.things:
        yield "shape", thing.cell, _SHAPES.index(thing.shape)
        yield "colour", thing.cell, _COLOURS.index(thing.colour)
        yield "size", thing.cell, _SIZES.index(thing.size)
    for line in subject.lines:
        name, first = ("column", 0) if line.is_vertical else ("line", ROWS.index(line.row) * MOST_SIGNS)
        for place, sign in enumerate(line.text[:MOST_SIGNS]):
            yield name, first + place, SIGNS.index(sign)


@_told.register
def _(subject: Page) -> Iterator[Told]:
    yield "layout", 0, LAYOUTS.index(subject.layout)
    yield "colours", 3, _COLOURS.index(subject.colour)
    if subject.shape is not None:
        yield "charge", 0, _SHAPES.index(subject.shape)
    for text, (x0, y0, _, y1) in zip(subject.transcript, places(subject), strict=True):
        band, right = int((y0 + y1) / 2 * 6), int(x0 > 0.5)
        for place, sign in enumerate(text[:MOST_SIGNS]):
            yield "printed", (band * 2 + right) * MOST_SIGNS + place, SIGNS.index(sign)


@_told.register
def _(subject: Diagram) -> Iterator[Told]:
    for node in subject.nodes:
        yield "node", node.cell, LETTERS.index(node.name)
        yield "shape", node.cell, _SHAPES.index(node.shape)
        yield "colour", node.cell, _COLOURS.index(node.colour)
    for edge in subject.edges:
        ends = subject.node(edge.source).cell, subject.node(edge.target).cell
        place = PAIRS.index((min(ends), max(ends)))
        yield "arrow", place, int(ends[0] > ends[1])
        yield "label", place, LABELS.index(edge.label)


@_told.register
def _(subject: Emblem) -> Iterator[Told]:
    for place, colour in enumerate((subject.rim, subject.field, subject.ink)):
        yield "colours", place, _COLOURS.index(colour)
    yield "charge", 0, _SHAPES.index(subject.charge)


@_told.register
def _(subject: Creature) -> Iterator[Told]:
    for place, field in enumerate(fields(subject.identity)):
        yield "who", place, CHOICES[field.name].index(getattr(subject.identity, field.name))
    yield "worn", 0, ACCESSORIES.index(subject.accessory)
    if subject.accessory_colour is not None:
        yield "worn", 1, _COLOURS.index(subject.accessory_colour)


_OF_SORT: Mapping[type[Subject], tuple[str, ...]] = {
    Scene: ("background", "shape", "colour", "size", "line", "column"),
    Page: ("layout", "colours", "charge", "printed"),
    Diagram: ("node", "shape", "colour", "arrow", "label"),
    Emblem: ("colours", "charge"),
    Creature: ("who", "worn"),
}


def by_sort(subjects: Sequence[Subject]) -> Iterator[tuple[tuple[str, ...], list[int]]]:
    for sort, names in _OF_SORT.items():
        chosen = [at for at, subject in enumerate(subjects) if isinstance(subject, sort)]
        if chosen:
            yield names, chosen


def _pieces(facet: Facet) -> int:
    """How many pieces of the picture the facet is read from, each by the same map."""
    return {"all": 1, "cells": len(CELLS), "pairs": len(PAIRS), "rows": GRID, "middle": 1, "bands": 6}[facet.where]


def _cut(tokens: Tensor, side: int, where: str) -> Tensor:
    """(pictures, pieces, values)."""
    return _CUTS[where](tokens.view(len(tokens), side, side, -1), side // GRID)


def _cells(grid: Tensor, step: int) -> Tensor:
    pictures, _, _, width = grid.shape
    blocks = grid.view(pictures, GRID, step, GRID, step, width).transpose(2, 3)
    return blocks.reshape(pictures, GRID * GRID, -1)


def _pairs(grid: Tensor, step: int) -> Tensor:
    cells = _cells(grid, step)
    one, other = zip(*PAIRS, strict=True)
    return torch.cat([cells[:, list(one)], cells[:, list(other)]], -1)


def _bands(grid: Tensor, step: int) -> Tensor:
    """Sixths of the height, each with the halves of its neighbours: a line may lie across two."""
    pictures, side, _, _ = grid.shape
    rows = grid.reshape(pictures, 6, side // 6, -1).mean(2)
    padded = torch.cat([torch.zeros_like(rows[:, :1]), rows, torch.zeros_like(rows[:, :1])], 1)
    return torch.cat([padded[:, :-2], padded[:, 1:-1], padded[:, 2:]], -1)


_CUTS: Mapping[str, Callable[[Tensor, int], Tensor]] = {
    "all": lambda grid, step: grid.flatten(1)[:, None],
    "cells": _cells,
    "pairs": _pairs,
    "rows": lambda grid, step: grid.reshape(len(grid), GRID, -1),
    "middle": lambda grid, step: grid[:, :, step : 2 * step].flatten(1)[:, None],
    "bands": _bands,
}
