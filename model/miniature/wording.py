"""The many ways to say what a scene shows. Each says all of it: from any wording the scene can be told again.

A relation takes the place of a cell where a thing has a neighbour: "right of" means in the next cell to the right, so
that it is as exact as a place (free relations were learned far worse in the trial behind this world).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from model.miniature.lot import First, Lot, pick
from model.miniature.scene import Line, Scene, Thing
from model.miniature.vocabulary import CELLS, NUMBERS, RELATIONS, column_of, row_of

_SIZES = {"big": ("big", "large"), "small": ("small", "little")}
_PLURAL = {"cross": "crosses"}
_PLACES = {
    "top": ("at the top", "in the top row"),
    "middle": ("in the middle", "in the middle row"),
    "bottom": ("at the bottom", "in the bottom row"),
}
_RELATIONS = {
    "left of": ("left of", "to the left of"),
    "right of": ("right of", "to the right of"),
    "above": ("above", "over"),
    "below": ("below", "under"),
}
_SCRIPTS = {"cyrillic": "Cyrillic", "hebrew": "Hebrew", "han": "Chinese", "han vertical": "Chinese"}


@dataclass(frozen=True, slots=True)
class Speaker:
    """One way of speaking, kept up through a sentence: terse, or in whole phrases; naming neighbours so often, 0..1; one by
    one, or what is alike by its number; with the names of scripts, or without."""

    rng: Lot
    terse: bool
    neighbours: float = 0.6
    counts: bool = True
    scripts: bool = True

    def pick(self, choices: Sequence[str]) -> str:
        return pick(self.rng, choices)

    def thing(self, thing: Thing, number: int = 1, article: str = "a") -> str:
        shape = thing.shape if number == 1 else _PLURAL.get(thing.shape, f"{thing.shape}s")
        noun = f"{self.pick(_SIZES[thing.size])} {thing.colour} {shape}"
        if number > 1:
            return f"{NUMBERS[number]} {noun}"
        return noun if self.terse else f"{article} {noun}"

    def place(self, cell: int) -> str:
        name = "center" if CELLS[cell] == "middle center" else CELLS[cell]
        return name if self.terse else f"{self.pick(('in the', 'at the'))} {name}"

    def line(self, line: Line) -> str:
        several = " " in line.text
        noun = self.pick(("words", "text") if several else ("word", "text"))
        script = f"{_SCRIPTS[line.script]} " if line.script in _SCRIPTS and self.scripts and not self.terse else ""
        said = f'{script}{noun} "{line.text}" in {line.colour} {self.where(line)}'
        return said if self.terse else f"the {said}"

    def where(self, line: Line) -> str:
        return "from top to bottom" if line.is_vertical else self.pick(_PLACES[line.row])

    def ground(self, background: str) -> str:
        return f"{background} background" if self.terse else f"a {background} background"


def wording(scene: Scene, rng: np.random.Generator) -> str:
    """One sentence that says the whole scene, by lot."""
    return _said(scene, Speaker(rng, terse=bool(rng.random() < 0.3)))


def plain(scene: Scene) -> str:
    """One sentence in whole phrases, every thing with its own place, from the top left."""
    return _said(scene, Speaker(First(), terse=False, neighbours=0.0))


def singly(scene: Scene) -> str:
    """The one sentence that a captioner is taught: thing by thing, so that nothing must be compared before the first word."""
    return _said(scene, Speaker(First(), terse=False, neighbours=0.0, counts=False, scripts=False))


def _said(scene: Scene, speaker: Speaker) -> str:
    said = [*things_said(scene.things, speaker), *(speaker.line(line) for line in scene.lines)]
    ground = speaker.ground(scene.background)
    if speaker.terse:
        return speaker.pick((f"{', '.join(said)}, {ground}", f"{ground}: {', '.join(said)}"))
    listed = _listed(said)
    return speaker.pick(
        (
            f"{listed[0].upper()}{listed[1:]}, on {ground}.",
            f"On {ground}, {listed}.",
            f"A picture of {listed}, on {ground}.",
            f"{ground[0].upper()}{ground[1:]} with {listed}.",
        )
    )


def things_said(things: Sequence[Thing], speaker: Speaker) -> list[str]:
    """Things with their places, with a neighbour or alone; all at once where all are alike."""
    if speaker.counts and len(things) > 1 and len({thing.look for thing in things}) == 1:
        places = _listed([speaker.place(thing.cell) for thing in things], terse=speaker.terse)
        return [f"{speaker.thing(things[0], len(things))} {places}"]
    order = [int(at) for at in speaker.rng.permutation(len(things))]
    said: list[str] = []
    while order:
        first = things[order.pop(0)]
        beside = next((at for at in order if _relation(first, things[at]) is not None), None)
        if beside is None or speaker.rng.random() >= speaker.neighbours:
            said.append(f"{speaker.thing(first)} {speaker.place(first.cell)}")
            continue
        other = things[beside]
        order.remove(beside)
        relation = _relation(first, other)
        assert relation is not None, "asked for above"
        related = f"{speaker.thing(first)} {speaker.pick(_RELATIONS[relation])} {speaker.thing(other)}"
        said.append(f"{related} {speaker.place(other.cell)}")
    return said


def _relation(one: Thing, other: Thing) -> str | None:
    apart = row_of(one.cell) - row_of(other.cell), column_of(one.cell) - column_of(other.cell)
    return next((name for name, steps in RELATIONS.items() if steps == apart), None)


def _listed(parts: Sequence[str], terse: bool = False) -> str:
    if terse or len(parts) == 1:
        return ", ".join(parts)
    return f"{', '.join(parts[:-1])} and {parts[-1]}"
