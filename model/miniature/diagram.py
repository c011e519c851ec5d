"""Diagrams: nodes with names, and arrows with labels between neighbours in the grid."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from PIL import Image

from model.miniature.canvas import Box, Canvas
from model.miniature.lettering import sign_font
from model.miniature.lot import Lot, pick
from model.miniature.subject import Subject, SubjectError
from model.miniature.vocabulary import (
    BACKGROUNDS,
    CELLS,
    COLOURS,
    GRID,
    LETTERS,
    RELATIONS,
    column_of,
    is_dark,
    row_of,
    with_article,
)

NODE_SHAPES = ("square", "circle")
MOST_NODES = 4
LABELS = "123456789"
_GROUND, _INK, _PAPER = "white", (30, 30, 30), (250, 250, 250)
# Radii, widths and heights in shares of the side.
_NODE, _NAME, _LABEL, _ARROW, _HEAD = 0.1, 0.11, 0.09, 0.012, 0.035
_ASIDE = 0.055  # from an arrow to the middle of its label


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Node:
    cell: int
    name: str  # a capital
    shape: str
    colour: str


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Edge:
    """An arrow between nodes, by their names."""

    source: str
    target: str
    label: str  # a digit


@dataclass(frozen=True, kw_only=True)
class Diagram(Subject):
    """Two to four nodes and arrows between neighbours. Raises SubjectError for what cannot be drawn apart."""

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "nodes", tuple(sorted(self.nodes)))
        object.__setattr__(self, "edges", tuple(sorted(self.edges)))
        for problem in _problems(self):
            raise SubjectError(problem)

    def node(self, name: str) -> Node:
        return next(node for node in self.nodes if node.name == name)

    @classmethod
    def from_dict(cls, read: Mapping[str, Any]) -> Self:
        edges = tuple(Edge(**edge) for edge in read["edges"])
        return cls(nodes=tuple(Node(**node) for node in read["nodes"]), edges=edges)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """`nodes` and `labels`: the box of each node, and of each edge's label, in the order of the diagram."""

    image: Image.Image
    nodes: tuple[Box, ...]
    labels: tuple[Box, ...]


def sample(rng: np.random.Generator) -> Diagram:
    """Nodes that grow from a first one, each beside one that is there, with an arrow between the two."""
    number = int(rng.integers(2, MOST_NODES + 1))
    names = [LETTERS[int(at)] for at in rng.choice(len(LETTERS), number, replace=False)]
    labels = [LABELS[int(at)] for at in rng.choice(len(LABELS), number - 1, replace=False)]
    nodes = [_node(rng, int(rng.integers(len(CELLS))), names[0])]
    edges: list[Edge] = []
    for name, label in zip(names[1:], labels, strict=True):
        taken = {node.cell for node in nodes}
        beside, cell = pick(
            rng, [(node, cell) for node in nodes for cell in neighbours(node.cell) if cell not in taken]
        )
        nodes.append(_node(rng, cell, name))
        ends = (beside.name, name) if rng.random() < 0.5 else (name, beside.name)
        edges.append(Edge(source=ends[0], target=ends[1], label=label))
    return Diagram(nodes=tuple(nodes), edges=tuple(edges))


def neighbours(cell: int) -> list[int]:
    """The cells above, below, left and right of one."""
    places = [(row_of(cell) + rows, column_of(cell) + columns) for rows, columns in RELATIONS.values()]
    return [row * GRID + column for row, column in places if 0 <= row < GRID and 0 <= column < GRID]


def render(diagram: Diagram, side_px: int, seed: int = 0) -> Drawn:
    """Draw a diagram as a square RGB picture. Raises ValueError for a side the world is not drawn at."""
    canvas = Canvas(diagram.subject_id, side_px, seed, BACKGROUNDS[_GROUND])
    middles = {node.name: (np.array([column_of(node.cell), row_of(node.cell)]) + 0.5) / GRID for node in diagram.nodes}
    labels = tuple(_arrow(canvas, middles[edge.source], middles[edge.target], edge.label) for edge in diagram.edges)
    nodes = []
    for node in diagram.nodes:
        nodes.append(canvas.shape(node.shape, middles[node.name], _NODE, canvas.near(COLOURS[node.colour])))
        _write(canvas, middles[node.name], node.name, _NAME, _PAPER if is_dark(node.colour) else _INK)
    return Drawn(image=canvas.finished(), nodes=tuple(nodes), labels=labels)


def wording(diagram: Diagram, rng: Lot) -> str:
    """All of a diagram in a sentence or two, by lot."""
    order = [diagram.nodes[int(at)] for at in rng.permutation(len(diagram.nodes))]
    nodes = [f"{with_article(node.colour)} {node.shape} {node.name} {_place(node.cell)}" for node in order]
    leads, marked = pick(rng, (("points to", "labelled"), ("leads to", "marked")))
    edges = [f"{edge.source} {leads} {edge.target}, {marked} {edge.label}" for edge in diagram.edges]
    opening = pick(rng, ("A diagram with", "A chart of", "Nodes:"))
    return f"{opening} {', '.join(nodes[:-1])} and {nodes[-1]}. {'; '.join(edges)}."


def _problems(diagram: Diagram) -> Iterator[str]:
    names = [node.name for node in diagram.nodes]
    cells = [node.cell for node in diagram.nodes]
    if not 2 <= len(names) <= MOST_NODES or len(set(names)) < len(names) or len(set(cells)) < len(cells):
        yield f"two to {MOST_NODES} nodes, each with a name and a cell of its own"
    for node in diagram.nodes:
        known = node.shape in NODE_SHAPES and node.colour in COLOURS and len(node.name) == 1 and node.name in LETTERS
        if not known or type(node.cell) is not int or not 0 <= node.cell < len(CELLS):
            yield f"no such node: {node}"
    joined = [frozenset((edge.source, edge.target)) for edge in diagram.edges]
    if len(set(joined)) < len(joined):
        yield "two edges between the same nodes"
    for edge in diagram.edges:
        ends = edge.source in names and edge.target in names
        if not ends or len(edge.label) != 1 or edge.label not in LABELS:
            yield f"no such edge: {edge}"
        elif diagram.node(edge.target).cell not in neighbours(diagram.node(edge.source).cell):
            yield "an edge joins neighbours"


def _node(rng: np.random.Generator, cell: int, name: str) -> Node:
    return Node(cell=cell, name=name, shape=pick(rng, NODE_SHAPES), colour=pick(rng, tuple(COLOURS)))


def _arrow(canvas: Canvas, source: np.ndarray, target: np.ndarray, label: str) -> Box:
    along = (target - source) / np.linalg.norm(target - source)
    across = np.array([-along[1], along[0]])
    start, tip = source + along * _NODE, target - along * (_NODE + 0.008)
    head = tip - along * _HEAD
    corners = [start + across * _ARROW / 2, head + across * _ARROW / 2, head + across * _HEAD * 0.7, tip]
    corners += [head - across * _HEAD * 0.7, head - across * _ARROW / 2, start - across * _ARROW / 2]
    canvas.draw.polygon([tuple(corner * canvas.side) for corner in corners], fill=canvas.near(_INK))
    aside = across if across[1] < 0 or (across[1] == 0 and across[0] > 0) else -across
    return _write(canvas, (source + target) / 2 + aside * _ASIDE, label, _LABEL, _INK)


def _write(canvas: Canvas, middle: np.ndarray, sign: str, high: float, colour: tuple[int, int, int]) -> Box:
    font = sign_font("latin", max(6, round(high * canvas.side)))
    at = (float(middle[0] * canvas.side), float(middle[1] * canvas.side))
    canvas.draw.text(at, sign, font=font, fill=canvas.near(colour), anchor="mm")
    x0, y0, x1, y1 = (edge / canvas.side for edge in canvas.draw.textbbox(at, sign, font=font, anchor="mm"))
    return x0, y0, x1, y1


def _place(cell: int) -> str:
    return "in the center" if CELLS[cell] == "middle center" else f"at the {CELLS[cell]}"
