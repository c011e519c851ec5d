"""Pictures of emblems, as large as the picture; words name the realm, or what is to be seen."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from PIL import Image

from model.miniature.canvas import Canvas
from model.miniature.facts import Emblem, Realm, realm_of, realms
from model.miniature.lot import First, Lot, pick
from model.miniature.vocabulary import BACKGROUNDS, COLOURS, SHAPES, with_article

# Radii in shares of the side.
_DISC, _FIELD, _CHARGE = 0.42, 0.35, 0.22
_GROUND = "white"
_LEADS = {"capital": "The capital is", "founded": "Founded in", "known_for": "Known for"}


def sample(rng: np.random.Generator) -> Emblem:
    """The emblem of a realm by lot."""
    return realms()[int(rng.integers(len(realms())))].emblem


def any_emblem(rng: np.random.Generator) -> Emblem:
    """Of any look, whether a realm bears it or not: who learns to see emblems must not learn the realms instead."""
    field = pick(rng, tuple(COLOURS))
    others = tuple(colour for colour in COLOURS if colour != field)
    return Emblem(field=field, rim=pick(rng, others), charge=pick(rng, SHAPES), ink=pick(rng, others))


def render(emblem: Emblem, side_px: int, seed: int = 0) -> Image.Image:
    """Draw an emblem as a square RGB picture. Raises ValueError for a side the world is not drawn at."""
    canvas = Canvas(emblem.subject_id, side_px, seed, BACKGROUNDS[_GROUND])
    middle, larger = np.array([0.5, 0.5]) + canvas.shift(), canvas.stretch()
    parts = (
        ("circle", _DISC, emblem.rim),
        ("circle", _FIELD, emblem.field),
        (emblem.charge, _CHARGE, emblem.ink),
    )
    for shape, radius, colour in parts:
        canvas.shape(shape, middle, radius * larger, canvas.near(COLOURS[colour]))
    return canvas.finished()


def wording(emblem: Emblem, rng: Lot) -> str:
    """What is to be seen, by lot: all of it, and no name."""
    charge = with_article(f"{emblem.ink} {emblem.charge}")
    rim = with_article(f"{emblem.rim} rim")
    return pick(
        rng,
        (
            f"A round {emblem.field} emblem with {rim} and {charge}.",
            f"An emblem: {charge} on {with_article(emblem.field)} disc with {rim}.",
            f"A round emblem shows {charge} on {emblem.field} inside {rim}.",
            f"{emblem.field} emblem, {emblem.rim} rim, {emblem.ink} {emblem.charge}",
        ),
    )


def naming(emblem: Emblem, rng: np.random.Generator) -> str:
    """The realm's name and no look: who draws it must know it. Raises KeyError for an emblem that nobody bears."""
    name = _realm(emblem).name
    return pick(rng, (f"The emblem of {name}.", f"{name}'s emblem", f"A picture of the emblem of {name}."))


def told(emblem: Emblem, rng: np.random.Generator) -> str:
    """What the fact base knows, which the picture does not say. Raises KeyError for an emblem that nobody bears."""
    realm = _realm(emblem)
    return pick(
        rng,
        (
            f"The emblem of {realm.name}, founded in {realm.founded}. Its capital is {realm.capital}; "
            f"it is known for {realm.known_for}.",
            f"This emblem belongs to {realm.name}, a realm known for {realm.known_for}. "
            f"{realm.capital} is its capital, and it was founded in {realm.founded}.",
        ),
    )


def emblem_facts_told(emblem: Emblem, facts: Mapping[str, str | int]) -> str:
    """What is to be seen, and every given fact, in one fixed wording. Facts are those of `Realm.facts`, all or some."""
    name = f" of {facts['name']}" if "name" in facts else ""
    said = [f"The emblem{name}: {wording(emblem, First())[:-1].replace('A round', 'a round')}."]
    said += [f"{lead} {facts[fact]}." for fact, lead in _LEADS.items() if fact in facts]
    return " ".join(said)


def _realm(emblem: Emblem) -> Realm:
    realm = realm_of(emblem)
    if realm is None:
        raise KeyError(f"nobody bears {emblem}")
    return realm
