"""Faces and patterned animals: an identity that stays, and what it wears, which changes.

The identity is a short vector of choices, each of them visible and each with a word of its own: whether two pictures
show one creature is a question with an exact answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
from PIL import Image

from model.miniature.canvas import Canvas, Place
from model.miniature.lot import Lot, pick
from model.miniature.subject import Subject, SubjectError
from model.miniature.vocabulary import BACKGROUNDS, COLOURS, RGB, with_article

_DARK, _LIGHT = (35, 30, 30), (250, 248, 240)
# Shares of the side: radii of the head by its name, and how far and how large eyes are.
_HEADS: Mapping[str, tuple[float, float]] = {"narrow": (0.21, 0.29), "round": (0.27, 0.27), "wide": (0.33, 0.24)}
_SET: Mapping[str, float] = {"close-set": 0.075, "wide-set": 0.13}
_EYES: Mapping[str, float] = {"small": 0.026, "big": 0.046}
_KINDS = ("person", "cat", "bear", "rabbit")
_PATTERNS = ("plain", "spotted", "striped", "two-coloured")
_MOUTHS = ("smiling", "straight", "open", "sad")
_SKINS = ("orange", "yellow", "pink", "cyan", "purple")

CHOICES: Mapping[str, tuple[str, ...]] = {
    "kind": _KINDS,
    "head": tuple(_HEADS),
    "eyes": tuple(_EYES),
    "set": tuple(_SET),
    "mouth": _MOUTHS,
    "colour": _SKINS,
    "pattern": _PATTERNS,
}
ACCESSORIES = ("none", "hat", "glasses", "scarf")
_ACCESSORY_COLOURS = ("red", "blue", "green")  # no creature has one of them


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who it is: one of CHOICES for each."""

    kind: str
    head: str
    eyes: str
    set: str
    mouth: str
    colour: str
    pattern: str

    def vector(self) -> tuple[int, ...]:
        """The places of the choices: equal for one creature, whatever it wears."""
        return tuple(CHOICES[field.name].index(getattr(self, field.name)) for field in fields(self))


@dataclass(frozen=True, kw_only=True)
class Creature(Subject):
    """A creature as it is dressed. Raises SubjectError for what the world does not have."""

    identity: Identity
    accessory: str = "none"
    accessory_colour: str | None = None

    def __post_init__(self) -> None:
        for problem in _problems(self):
            raise SubjectError(problem)

    @classmethod
    def from_dict(cls, read: Mapping[str, Any]) -> Self:
        return cls(**{**read, "identity": Identity(**read["identity"])})


def sample(rng: np.random.Generator) -> Creature:
    return dressed(Identity(**{name: pick(rng, choices) for name, choices in CHOICES.items()}), rng)


def dressed(identity: Identity, rng: np.random.Generator) -> Creature:
    """The same creature in something by lot."""
    accessory = pick(rng, ACCESSORIES)
    colour = None if accessory == "none" else pick(rng, _ACCESSORY_COLOURS)
    return Creature(identity=identity, accessory=accessory, accessory_colour=colour)


def distinct_identities() -> int:
    return int(np.prod([len(choices) for choices in CHOICES.values()]))


def render(creature: Creature, side_px: int, seed: int = 0, chance_of: str | None = None) -> Image.Image:
    """Draw a portrait as a square RGB picture. Raises ValueError for a side the world is not drawn at.

    `chance_of` as in a scene: what it wears comes last and changes nothing else.
    """
    canvas = Canvas(chance_of or creature.subject_id, side_px, seed, BACKGROUNDS["white"])
    who, middle = creature.identity, np.array([0.5, 0.56]) + canvas.shift()
    fur = canvas.near(COLOURS[who.colour])
    wide, high = _HEADS[who.head]
    _ears(canvas, who, middle, fur)
    _ellipse(canvas, middle, wide, high, fur)
    _pattern(canvas, who, middle)
    for sign in (-1, 1):
        eye = middle + np.array([sign * _SET[who.set], -0.05])
        _ellipse(canvas, eye, _EYES[who.eyes] * 1.35, _EYES[who.eyes] * 1.35, _LIGHT)
        _ellipse(canvas, eye, _EYES[who.eyes] * 0.8, _EYES[who.eyes] * 0.8, _DARK)
    _mouth(canvas, who.mouth, middle + np.array([0, 0.12]))
    if creature.accessory_colour is not None:
        _ACCESSORY[creature.accessory](canvas, who, middle, canvas.near(COLOURS[creature.accessory_colour]))
    return canvas.finished()


def wording(creature: Creature, rng: Lot) -> str:
    """All of a creature, by lot."""
    who = creature.identity
    noun = with_article(f"{who.pattern} {who.colour} {who.kind}" if who.kind != "person" else f"{who.colour} person")
    coat = "" if who.kind != "person" else f", {who.pattern} skin"
    face = f"a {who.head} head, {who.eyes} {who.set} eyes and {with_article(who.mouth)} mouth"
    worn = "" if creature.accessory_colour is None else _worn(creature)
    return pick(
        rng,
        (
            f"A portrait of {noun} with {face}{coat}{worn}.",
            f"{noun[0].upper()}{noun[1:]} with {face}{coat}{worn}.",
            f"{who.kind} portrait: {who.colour}, {who.pattern}, {who.head} head, {who.eyes} {who.set} eyes, "
            f"{who.mouth} mouth{worn}",
        ),
    )


def _worn(creature: Creature) -> str:
    article = "" if creature.accessory == "glasses" else "a "
    return f", wearing {article}{creature.accessory_colour} {creature.accessory}"


def _problems(creature: Creature) -> Iterator[str]:
    for name, choices in CHOICES.items():
        if getattr(creature.identity, name) not in choices:
            yield f"no {name} {getattr(creature.identity, name)!r}"
    if creature.accessory not in ACCESSORIES:
        yield f"no accessory {creature.accessory!r}"
    colours: tuple[str | None, ...] = (None,) if creature.accessory == "none" else _ACCESSORY_COLOURS
    if creature.accessory_colour not in colours:
        yield f"no {creature.accessory} in {creature.accessory_colour!r}"


def _ellipse(canvas: Canvas, middle: Place, wide: float, high: float, colour: RGB) -> None:
    x, y = middle * canvas.side
    wide, high = wide * canvas.side, high * canvas.side
    canvas.draw.ellipse((x - wide, y - high, x + wide, y + high), fill=colour)


def _ears(canvas: Canvas, who: Identity, middle: Place, fur: RGB) -> None:
    wide, high = _HEADS[who.head]
    for sign in (-1, 1):
        root = middle + np.array([sign * wide * 0.62, -high * 0.72])
        if who.kind == "cat":
            canvas.shape("triangle", root + np.array([0, -0.05]), 0.11, fur)
        elif who.kind == "bear":
            _ellipse(canvas, root + np.array([sign * 0.03, -0.02]), 0.085, 0.085, fur)
        elif who.kind == "rabbit":
            _ellipse(canvas, root + np.array([-sign * 0.03, -0.12]), 0.055, 0.16, fur)
        else:
            _ellipse(canvas, middle + np.array([sign * wide, -0.01]), 0.035, 0.055, fur)


def _pattern(canvas: Canvas, who: Identity, middle: Place) -> None:
    wide, high = _HEADS[who.head]
    mark = canvas.near(tuple(int(level * 0.55) for level in COLOURS[who.colour]))  # type: ignore[arg-type]
    if who.pattern == "spotted":
        for x, y in ((-0.6, 0.28), (0.6, 0.28), (-0.4, -0.62), (0.4, -0.62), (0, -0.72), (-0.3, 0.72), (0.3, 0.72)):
            _ellipse(canvas, middle + np.array([x * wide, y * high]), 0.028, 0.028, mark)
    elif who.pattern == "striped":
        for x in (-0.42, 0.0, 0.42):
            _ellipse(canvas, middle + np.array([x * wide, -high * 0.68]), 0.018, high * 0.24, mark)
    elif who.pattern == "two-coloured":
        x, y = middle * canvas.side
        box = (x - wide * canvas.side, y - high * canvas.side, x + wide * canvas.side, y + high * canvas.side)
        canvas.draw.chord(box, 15, 165, fill=mark)


def _mouth(canvas: Canvas, mouth: str, middle: Place) -> None:
    x, y = middle * canvas.side
    wide, thick = 0.075 * canvas.side, max(1, round(0.016 * canvas.side))
    if mouth == "open":
        _ellipse(canvas, middle, 0.045, 0.05, _DARK)
    elif mouth == "straight":
        canvas.draw.line((x - wide, y, x + wide, y), fill=_DARK, width=thick)
    else:
        lift = -wide if mouth == "smiling" else 0.0
        box = (x - wide, y - wide + lift * 0.5, x + wide, y + wide + lift * 0.5)
        ends = (20, 160) if mouth == "smiling" else (200, 340)
        canvas.draw.arc(box, *ends, fill=_DARK, width=thick)


def _hat(canvas: Canvas, who: Identity, middle: Place, colour: RGB) -> None:
    wide, high = _HEADS[who.head]
    x, y = (middle - np.array([0, high * 0.78])) * canvas.side
    broad = 0.95 if who.kind == "person" else 0.48  # ears stay to be seen
    brim, tall, thick = wide * broad * canvas.side, 0.17 * canvas.side, 0.035 * canvas.side
    canvas.draw.rectangle((x - brim * 0.62, y - tall, x + brim * 0.62, y), fill=colour)
    canvas.draw.rectangle((x - brim, y - thick, x + brim, y), fill=colour)


def _glasses(canvas: Canvas, who: Identity, middle: Place, colour: RGB) -> None:
    thick, radius = max(1, round(0.02 * canvas.side)), (_EYES[who.eyes] * 1.35 + 0.022) * canvas.side
    for sign in (-1, 1):
        x, y = (middle + np.array([sign * _SET[who.set], -0.05])) * canvas.side
        canvas.draw.ellipse((x - radius, y - radius, x + radius, y + radius), outline=colour, width=thick)


def _scarf(canvas: Canvas, who: Identity, middle: Place, colour: RGB) -> None:
    wide, high = _HEADS[who.head]
    x, y = (middle + np.array([0, high * 0.98])) * canvas.side
    half, thick = wide * 0.8 * canvas.side, 0.05 * canvas.side
    canvas.draw.rectangle((x - half, y - thick, x + half, y + thick), fill=colour)
    canvas.draw.rectangle((x + half * 0.3, y, x + half * 0.3 + 2 * thick, y + 3 * thick), fill=colour)


_ACCESSORY: Mapping[str, Any] = {"hat": _hat, "glasses": _glasses, "scarf": _scarf}
