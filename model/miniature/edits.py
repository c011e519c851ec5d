"""Edit pairs: a subject, an instruction, and the subject that it asks for. What the instruction does not name stays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from model.miniature import creature, render
from model.miniature.creature import Creature, Identity, dressed
from model.miniature.lot import pick
from model.miniature.mutation import mutated, mutations
from model.miniature.scene import Line, Scene, Thing
from model.miniature.vocabulary import CELLS

_MORE_AT_ONCE = "a scene and its edit differ in one thing"


@dataclass(frozen=True, slots=True, kw_only=True)
class EditPair:
    before: Scene | Creature
    instruction: str
    after: Scene | Creature

    def pictures(self, side_px: int, seed: int) -> tuple[Image.Image, Image.Image]:
        """Both, alike to the pixel wherever the edit leaves things alone."""
        return self.picture(0, side_px, seed), self.picture(1, side_px, seed)

    def picture(self, which: int, side_px: int, seed: int) -> Image.Image:
        """The one before (0) or after (1)."""
        return _picture((self.before, self.after)[which], side_px, seed, self.before.subject_id)


def sample(scene: Scene, rng: np.random.Generator) -> EditPair:
    """An edit of the scene by lot."""
    after = scene
    while after == scene:  # some change has a single value, as the background under a word that needs it
        after = mutated(scene, pick(rng, mutations(scene)), rng)
    return EditPair(before=scene, instruction=instruction(scene, after, rng), after=after)


def dressing(identity: Identity, rng: np.random.Generator) -> EditPair:
    """A creature that wears nothing, and is given something by lot."""
    bare = Creature(identity=identity)
    after = bare
    while after == bare:
        after = dressed(identity, rng)
    worn = f"{after.accessory_colour} {after.accessory}"
    asked = worn if after.accessory == "glasses" else f"a {worn}"
    said = pick(rng, (f"Add {asked}.", f"Give it {asked}.", f"Put {asked} on."))
    return EditPair(before=bare, instruction=said, after=after)


def instruction(before: Scene, after: Scene, rng: np.random.Generator) -> str:
    """One way, by lot, to ask for the change. Raises ValueError where the scenes differ in more than one thing."""
    asked = [
        *([_background(after, rng)] if before.background != after.background else []),
        *_things(before, after, rng),
        *_lines(before, after, rng),
    ]
    if len(asked) != 1:
        raise ValueError(_MORE_AT_ONCE)
    return asked[0]


def _background(after: Scene, rng: np.random.Generator) -> str:
    return pick(rng, (f"Make the background {after.background}.", f"Change the background to {after.background}."))


def _things(before: Scene, after: Scene, rng: np.random.Generator) -> list[str]:
    gone = [thing for thing in before.things if thing not in after.things]
    come = [thing for thing in after.things if thing not in before.things]
    if len(gone) > 1 or len(come) > 1:
        raise ValueError(_MORE_AT_ONCE)
    if gone and come:
        return [_changed(_name(gone[0], before), gone[0], come[0], rng)]
    if gone:
        name = _name(gone[0], before)
        return [pick(rng, (f"Remove {name}.", f"Take {name} away."))]
    if come:
        added = f"a {come[0].size} {come[0].colour} {come[0].shape} {_place(come[0].cell)}"
        return [pick(rng, (f"Add {added}.", f"Put {added}."))]
    return []


def _changed(name: str, old: Thing, new: Thing, rng: np.random.Generator) -> str:
    ways = {
        "shape": (
            f"Turn {name} into a {new.shape}.",
            f"Replace {name} with a {new.shape} of the same size and colour.",
        ),
        "size": (f"Make {name} {new.size}.", f"Make {name} {'bigger' if new.size == 'big' else 'smaller'}."),
        "colour": (f"Make {name} {new.colour}.", f"Paint {name} {new.colour}."),
        "cell": (f"Move {name} {_to(new.cell)}.",),
    }
    changed = [attribute for attribute in ways if getattr(old, attribute) != getattr(new, attribute)]
    if len(changed) != 1:
        raise ValueError(_MORE_AT_ONCE)
    return pick(rng, ways[changed[0]])


def _lines(before: Scene, after: Scene, rng: np.random.Generator) -> list[str]:
    gone = [line for line in before.lines if line not in after.lines]
    come = [line for line in after.lines if line not in before.lines]
    if len(gone) != len(come) or len(gone) > 1:
        raise ValueError(_MORE_AT_ONCE)
    return [_line(gone[0], come[0], rng)] if gone else []


def _line(old: Line, new: Line, rng: np.random.Generator) -> str:
    ways = {
        "text": (f'Write "{new.text}" instead of "{old.text}".', f'Change "{old.text}" to "{new.text}".'),
        "colour": (f'Make "{old.text}" {new.colour}.', f'Write "{old.text}" in {new.colour}.'),
        "row": (f'Move "{old.text}" to the {new.row} row.', f'Put "{old.text}" into the {new.row} row.'),
    }
    changed = [attribute for attribute in ways if getattr(old, attribute) != getattr(new, attribute)]
    if len(changed) != 1:
        raise ValueError(_MORE_AT_ONCE)
    return pick(rng, ways[changed[0]])


def _name(thing: Thing, scene: Scene) -> str:
    """With its place where others look alike."""
    name = f"the {thing.size} {thing.colour} {thing.shape}"
    return name if scene.counts()[thing.look] == 1 else f"{name} {_place(thing.cell)}"


def _place(cell: int) -> str:
    return "in the center" if CELLS[cell] == "middle center" else f"at the {CELLS[cell]}"


def _to(cell: int) -> str:
    return "to the center" if CELLS[cell] == "middle center" else f"to the {CELLS[cell]}"


def _picture(subject: Scene | Creature, side_px: int, seed: int, chance_of: str) -> Image.Image:
    if isinstance(subject, Scene):
        return render.render(subject, side_px, seed, chance_of).image
    return creature.render(subject, side_px, seed, chance_of)
