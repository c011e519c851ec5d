"""The many ways to ask for a scene: what people write to a generator, in sentences of their own.

`wording` tells a scene as a caption does, in one sentence; a request may come in several, place first or thing first, in any
order. A condition encoder that knows captions alone takes new sentences for noise (shapes in unseen wordings: a tenth right).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from model.miniature.lot import pick
from model.miniature.scene import Line, Scene, Thing
from model.miniature.wording import Speaker, things_said, wording

_LIKE_CAPTIONS = 0.3  # so many requests are worded as captions are
_THING_FIRST = (
    "{thing} is {place}.",
    "{thing} sits {place}.",
    "{thing} stands {place}, as it is.",
    "{thing}, {place}.",
    "you see {thing} {place}.",
    "put {thing} {place}.",
    "here we have {thing} {place}.",
    "I want {thing} {place}, please.",
    "there you find {thing} {place}.",
    "it shows {thing} {place}.",
)
_PLACE_FIRST = (
    "{place} there is {thing}.",
    "{place} is {thing}.",
    "{place}: {thing}.",
    "{place}, draw {thing}.",
    "{place} I see {thing}.",
    "look {place}: there stands {thing}.",
)
_WHOLE = (
    "{said}.",
    "you see {said}.",
    "show {said}.",
    "add {said}, please.",
    "here is {said}.",
    "this is a scene with {said}.",
    "there you find {said}.",
    "I would like {said}.",
)
_GROUNDS = (
    "everything is on {ground}.",
    "use {ground}.",
    "the ground is {colour}.",
    "make the background {colour}.",
    "behind it all is {ground}.",
    "{colour} is the background.",
    "it has {ground}.",
    "on {ground}.",
)
_LINES = (
    "the {noun} {text} {is_} written in {colour} {where}.",
    "write {text} in {colour} {where}.",
    "it says {text} in {colour} {where}.",
    "{where}, in {colour}, the {noun} {text}.",
    "{text} stands {where}, in {colour}.",
    "{where} is {text} in {colour}.",
    "you read the {noun} {text} in {colour} {where}.",
)


def phrased(scene: Scene, rng: np.random.Generator) -> str:
    """A request that says the whole scene, by lot."""
    if rng.random() < _LIKE_CAPTIONS:
        return wording(scene, rng)
    told = [*_things(scene.things, rng), *(_line(line, rng) for line in scene.lines)]
    told = [told[int(at)] for at in rng.permutation(len(told))]
    told.insert(pick(rng, (0, len(told))), _ground(scene.background, rng))
    small = rng.random() < 0.3
    return " ".join(one if small else one[0].upper() + one[1:] for one in told)


def _things(things: Sequence[Thing], rng: np.random.Generator) -> list[str]:
    """Thing by thing, each with its place; or as captions say it, with neighbours and numbers."""
    speaker = Speaker(rng, terse=bool(rng.random() < 0.3))
    if rng.random() < 0.4:
        return [pick(rng, _WHOLE).format(said=said) for said in things_said(things, speaker)]
    frames = pick(rng, (_THING_FIRST, _PLACE_FIRST, (*_THING_FIRST, *_PLACE_FIRST)))
    kept = pick(rng, frames)  # who asks stays with one form more often than not
    return [
        pick(rng, (kept, kept, pick(rng, frames))).format(
            thing=speaker.thing(thing, article=pick(rng, ("a", "one", "some"))), place=speaker.place(thing.cell)
        )
        for thing in things
    ]


def _ground(background: str, rng: np.random.Generator) -> str:
    return pick(rng, _GROUNDS).format(ground=Speaker(rng, terse=False).ground(background), colour=background)


def _line(line: Line, rng: np.random.Generator) -> str:
    several = " " in line.text
    return pick(rng, _LINES).format(
        noun=pick(rng, ("words", "text") if several else ("word", "text")),
        is_="are" if several and rng.random() < 0.5 else "is",
        text=f'"{line.text}"',
        colour=line.colour,
        where=Speaker(rng, terse=False).where(line),
    )
