"""Diagrams: what is drawn is what is said, and nothing else can be meant."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.miniature.diagram import Diagram, Edge, Node, neighbours, render, sample, wording
from model.miniature.subject import SubjectError
from model.miniature.vocabulary import COLOURS

A = Node(cell=0, name="A", shape="square", colour="red")
B = Node(cell=1, name="B", shape="circle", colour="blue")
FAR = Node(cell=8, name="C", shape="circle", colour="blue")
JOINED = Edge(source="A", target="B", label="7")

diagrams = st.integers(0, 2**32).map(lambda seed: sample(np.random.default_rng(seed)))


@given(diagrams)
def test_a_diagram_survives_its_json_and_hangs_together(diagram: Diagram) -> None:
    assert Diagram.from_json(diagram.to_json()) == diagram
    reached, edge_ends = {diagram.nodes[0].name}, [{edge.source, edge.target} for edge in diagram.edges]
    for _ in diagram.nodes:
        reached |= set().union(*(ends for ends in edge_ends if ends & reached))
    assert reached == {node.name for node in diagram.nodes}


@pytest.mark.parametrize(
    ("nodes", "edges"),
    [
        ((A,), ()),
        ((A, A), ()),
        ((A, FAR), (Edge(source="A", target="C", label="1"),)),
        ((A, B), (JOINED, Edge(source="B", target="A", label="2"))),
        ((A, B), (Edge(source="A", target="Z", label="1"),)),
        ((A, B), (Edge(source="A", target="B", label="10"),)),
        ((A, Node(cell=2, name="", shape="circle", colour="blue")), ()),
    ],
)
def test_what_cannot_be_drawn_apart_is_refused(nodes: tuple[Node, ...], edges: tuple[Edge, ...]) -> None:
    with pytest.raises(SubjectError):
        Diagram(nodes=nodes, edges=edges)


def test_neighbours_are_one_step_away() -> None:
    assert sorted(neighbours(4)) == [1, 3, 5, 7]
    assert sorted(neighbours(0)) == [1, 3]


def test_nodes_have_their_colour_and_arrows_their_direction() -> None:
    """The head of an arrow is wider than its tail: more ink stands in the half that it points to."""
    forth = render(Diagram(nodes=(A, B), edges=(JOINED,)), 384)
    back = render(Diagram(nodes=(A, B), edges=(Edge(source="B", target="A", label="7"),)), 384)
    x0, _, x1, y1 = forth.nodes[0]
    red = forth.image.getpixel((int((x0 + 0.01) * 384), int((y1 - 0.01) * 384)))
    assert isinstance(red, tuple)
    assert max(abs(one - two) for one, two in zip(red, COLOURS["red"], strict=True)) <= 9
    gap = slice(int(x1 * 384) + 2, int(forth.nodes[1][0] * 384) - 2)
    for drawn, points_right in ((forth, True), (back, False)):
        dark = np.asarray(drawn.image.convert("L"))[44:84, gap] < 100
        middle = dark.shape[1] // 2
        assert (dark[:, middle:].sum() > dark[:, :middle].sum()) == points_right


def test_no_label_covers_a_node_or_another() -> None:
    rng = np.random.default_rng(9)
    for _ in range(300):
        drawn = render(sample(rng), 96)
        boxes = [*drawn.nodes, *drawn.labels]
        for at, one in enumerate(boxes):
            for other in boxes[at + 1 :]:
                wide = min(one[2], other[2]) - max(one[0], other[0])
                high = min(one[3], other[3]) - max(one[1], other[1])
                assert min(wide, high) < 0.015


def test_words_say_all_of_a_diagram() -> None:
    rng = np.random.default_rng(10)
    meant: dict[str, str] = {}
    for _ in range(3000):
        diagram = sample(rng)
        said = wording(diagram, rng)
        assert meant.setdefault(said, diagram.subject_id) == diagram.subject_id, said
        assert all(f"{node.colour} {node.shape} {node.name}" in said for node in diagram.nodes)
        assert all(edge.label in said for edge in diagram.edges)
