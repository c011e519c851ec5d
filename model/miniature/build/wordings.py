"""Wordings that no model of the miniature is trained on: only for exams."""

from __future__ import annotations

from model.miniature.scene import Scene
from model.miniature.subject import Subject
from model.miniature.vocabulary import CELLS


def told_plainly(subject: Subject) -> str:
    """A scene in short sentences of a form that training does not have: the ground first, then thing by thing."""
    assert isinstance(subject, Scene)
    said = [f"The background is {subject.background}."]
    for thing in subject.things:
        place = "center" if CELLS[thing.cell] == "middle center" else CELLS[thing.cell]
        said.append(f"There is a {thing.size} {thing.colour} {thing.shape} at the {place}.")
    for line in subject.lines:
        where = "from top to bottom" if line.is_vertical else f"in the {line.row} row"
        said.append(f'There is the word "{line.text}" in {line.colour} {where}.')
    return " ".join(said)
