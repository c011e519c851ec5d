"""Scenes that differ from another in one facet alone: what a checker must refuse, and an edit changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np

from model.miniature.grammar import alphabet
from model.miniature.lot import pick
from model.miniature.scene import Line, Scene, Thing, occupied
from model.miniature.vocabulary import BACKGROUNDS, CELLS, COLOURS, MOST_THINGS, ROWS, SHAPES, SIZES, contrasts

T = TypeVar("T")


def mutations(scene: Scene) -> tuple[str, ...]:
    """The names of the changes that this scene allows, for `mutated`."""
    things = ("shape", "size", "colour", "cell") if scene.things else ()
    number = (
        *(("one more",) if len(scene.things) < MOST_THINGS and _free(scene) else ()),
        *(("one less",) if len(scene.things) > 1 else ()),
    )
    line = ("sign", "word colour") if scene.lines else ()
    rows = ("row",) if scene.lines and not any(line.is_vertical for line in scene.lines) and not scene.things else ()
    return ("background", *things, *number, *line, *rows)


def mutated(scene: Scene, change: str, rng: np.random.Generator) -> Scene:
    """The scene with one thing about it otherwise. Raises KeyError for a change that is none."""
    return _CHANGES[change](scene, rng)


def differences(one: Scene, other: Scene) -> int:
    """In how many things two scenes differ: the ground, each thing that only one has (changed ones count once), the line."""
    gone, come = set(one.things) - set(other.things), set(other.things) - set(one.things)
    return (one.background != other.background) + max(len(gone), len(come)) + (one.lines != other.lines)


def _background(scene: Scene, rng: np.random.Generator) -> Scene:
    inks = [line.colour for line in scene.lines]
    grounds = [name for name in BACKGROUNDS if all(contrasts(ink, name) for ink in inks)]
    return replace(scene, background=_other(rng, grounds, scene.background))


def _of_one_thing(attribute: str, values: Sequence[str]) -> Callable[[Scene, np.random.Generator], Scene]:
    def change(scene: Scene, rng: np.random.Generator) -> Scene:
        things = list(scene.things)
        at = int(rng.integers(len(things)))
        value = _other(rng, values, getattr(things[at], attribute))
        things[at] = replace(things[at], **{attribute: value})
        return replace(scene, things=tuple(things))

    return change


def _moved(scene: Scene, rng: np.random.Generator) -> Scene:
    things = list(scene.things)
    at = int(rng.integers(len(things)))
    things[at] = replace(things[at], cell=_other(rng, _free(scene)))
    return replace(scene, things=tuple(things))


def _one_more(scene: Scene, rng: np.random.Generator) -> Scene:
    like = scene.things[int(rng.integers(len(scene.things)))] if scene.things else None
    look = like or Thing(cell=0, shape=_other(rng, SHAPES), colour=_other(rng, [*COLOURS]), size=_other(rng, [*SIZES]))
    return replace(scene, things=(*scene.things, replace(look, cell=_other(rng, _free(scene)))))


def _one_less(scene: Scene, rng: np.random.Generator) -> Scene:
    at = int(rng.integers(len(scene.things)))
    return replace(scene, things=scene.things[:at] + scene.things[at + 1 :])


def _sign(scene: Scene, rng: np.random.Generator) -> Scene:
    line = _a_line(scene, rng)
    at = _other(rng, [place for place, sign in enumerate(line.text) if sign != " "])
    sign = _other(rng, alphabet(line.script), line.text[at])
    return _with(scene, line, replace(line, text=line.text[:at] + sign + line.text[at + 1 :]))


def _word_colour(scene: Scene, rng: np.random.Generator) -> Scene:
    line = _a_line(scene, rng)
    colours = [name for name in COLOURS if contrasts(name, scene.background)]
    return _with(scene, line, replace(line, colour=_other(rng, colours, line.colour)))


def _row(scene: Scene, rng: np.random.Generator) -> Scene:
    line = _a_line(scene, rng)
    free = [row for row in ROWS if all(row != one.row for one in scene.lines)]
    return _with(scene, line, replace(line, row=_other(rng, free)))


def _a_line(scene: Scene, rng: np.random.Generator) -> Line:
    return scene.lines[0] if len(scene.lines) == 1 else pick(rng, scene.lines)


def _with(scene: Scene, old: Line, new: Line) -> Scene:
    return replace(scene, lines=tuple(new if line == old else line for line in scene.lines))


def _free(scene: Scene) -> list[int]:
    taken = {thing.cell for thing in scene.things}.union(*(occupied(line) for line in scene.lines))
    return [cell for cell in range(len(CELLS)) if cell not in taken]


def _other(rng: np.random.Generator, choices: Sequence[T], but: T | None = None) -> T:
    """One by lot that is not `but`; `but` itself where there is no other."""
    left = [choice for choice in choices if choice != but] or list(choices)
    return pick(rng, left)


_CHANGES: Mapping[str, Callable[[Scene, np.random.Generator], Scene]] = {
    "background": _background,
    "shape": _of_one_thing("shape", SHAPES),
    "size": _of_one_thing("size", [*SIZES]),
    "colour": _of_one_thing("colour", [*COLOURS]),
    "cell": _moved,
    "one more": _one_more,
    "one less": _one_less,
    "sign": _sign,
    "word colour": _word_colour,
    "row": _row,
}
