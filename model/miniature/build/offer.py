"""What the world offers to a trainer: pictures that are drawn when they are read, with prompts and edits.

The trainer takes them as it takes a folder of a user's. A picture of a number has no other source than that number and the seed.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from model.data.examples import Example, Offered
from model.miniature import creature, edits, grammar
from model.miniature.levels import NEVER_PAIRED, may_be_shown, said
from model.miniature.roles import role_of
from model.miniature.scene import Scene
from model.miniature.sorts import sort_of
from model.miniature.subject import Subject
from model.miniature.vocabulary import SCRIPTS

SIDE_PX = 96
# How often a kind is shown: what is harder, more often. Words are learned last, and set the budget; but a kind that is
# hardly ever shown is lost while others are learned (one thing alone, at .02: a second was drawn beside it). Our choice.
_KINDS: Mapping[str, float] = {
    "one": 0.08,
    "two": 0.07,
    "pair": 0.06,
    "three": 0.06,
    "pair and one": 0.06,
    "four": 0.06,
    "two alike": 0.02,
    "three alike": 0.02,
    "four alike": 0.03,
    "word": 0.22,
    "word and one": 0.10,
    "word and two": 0.05,
    "two words": 0.17,
}
_LATIN = 0.6  # of lines; the rest is of the other scripts alike
# Of latin lines so many have one or two letters: what a letter looks like is learned where it stands alone.
_SHORT, _FEW = 0.2, 2
_CREATURES = 0.06  # of all pictures, and
_DRESSED = 0.25  # of edits


@dataclass(frozen=True, slots=True)
class Drawn:
    """A picture that is drawn when it is read."""

    subject: Subject
    seed: int

    def read(self, at_most: int) -> bytes:
        return _png(sort_of(self.subject).picture(self.subject, SIDE_PX, self.seed))


@dataclass(frozen=True, slots=True)
class DrawnEdit:
    """One of an edit's two pictures."""

    pair: edits.EditPair
    which: int
    seed: int

    def read(self, at_most: int) -> bytes:
        return _png(self.pair.picture(self.which, SIDE_PX, self.seed))


def offer(pictures: int, pairs: int, seed: int) -> Offered:
    """So many pictures with prompts and so many edits, none of which the suites hold."""
    examples = [_picture(at, np.random.default_rng([seed, 40, at])) for at in range(pictures)]
    examples += [_edit(at, np.random.default_rng([seed, 41, at])) for at in range(pairs)]
    return Offered(examples=examples)


def _picture(at: int, rng: np.random.Generator) -> Example:
    subject, text = _portrait(rng) if rng.random() < _CREATURES else _scene(rng)
    return Example(key=f"picture {at:06}", image=Drawn(subject, at), caption=text)


def _edit(at: int, rng: np.random.Generator) -> Example:
    pair = edits.dressing(_identity(rng), rng) if rng.random() < _DRESSED else _changed(rng)
    return Example(
        key=f"edit {at:06}",
        image=DrawnEdit(pair, 1, at),
        caption=pair.instruction,
        references=(DrawnEdit(pair, 0, at),),
    )


def _scene(rng: np.random.Generator) -> tuple[Scene, str]:
    while True:
        kind = str(rng.choice(list(_KINDS), p=list(_KINDS.values())))
        scripts: Sequence[str] = ("latin",) if rng.random() < _LATIN else SCRIPTS[1:]
        scene = grammar.sample(rng, kind, scripts=scripts, held_out=NEVER_PAIRED)
        if scripts == ("latin",) and len(scene.lines) == 1 and rng.random() < _SHORT:
            scene = replace(scene, lines=(replace(scene.lines[0], text=grammar.letters(rng, _FEW)),))
        text = said(scene, rng)
        if may_be_shown(scene, text):
            return scene, text


def _portrait(rng: np.random.Generator) -> tuple[Subject, str]:
    who = creature.dressed(_identity(rng), rng)
    return who, creature.wording(who, rng)


def _identity(rng: np.random.Generator) -> creature.Identity:
    """One that nobody is examined on."""
    while True:
        bare = creature.Creature(identity=creature.sample(rng).identity)
        if role_of(bare.subject_id, "") == "train":
            return bare.identity


def _changed(rng: np.random.Generator) -> edits.EditPair:
    while True:
        pair = edits.sample(_scene(rng)[0], rng)
        if isinstance(pair.after, Scene) and may_be_shown(pair.after, pair.instruction):
            return pair


def _png(image: Image.Image) -> bytes:
    held = io.BytesIO()
    image.save(held, "PNG", compress_level=1)
    return held.getvalue()
