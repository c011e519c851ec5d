"""Emblems and the fact base: one look a realm, facts that no picture holds, pictures that can be told apart."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from model.miniature import emblem as emblems
from model.miniature.facts import FIRST_YEAR, LAST_YEAR, NUMBER_OF_REALMS, Emblem, realm_of, realms
from model.miniature.vocabulary import COLOURS, SHAPES

FIRST = ("Keluna", "Saravel", 1172, "honey")


def test_every_realm_has_a_name_and_an_emblem_of_its_own() -> None:
    assert len(realms()) == NUMBER_OF_REALMS
    assert len({realm.emblem for realm in realms()}) == NUMBER_OF_REALMS
    names = Counter(name for realm in realms() for name in (realm.name, realm.capital))
    assert set(names.values()) == {1}
    assert all(FIRST_YEAR <= realm.founded <= LAST_YEAR for realm in realms())
    assert all(realm_of(realm.emblem) == realm for realm in realms())
    assert {realm.emblem.charge for realm in realms()} == set(SHAPES)
    assert {realm.emblem.field for realm in realms()} == set(COLOURS)


def test_the_fact_base_never_changes() -> None:
    """Weights are trained on it: another order or another hash would make them wrong."""
    first = realms()[0]
    assert (first.name, first.capital, first.founded, first.known_for) == FIRST
    assert first.facts() == dict(zip(("name", "capital", "founded", "known_for"), FIRST, strict=True))


def test_a_picture_shows_the_emblem_and_no_other() -> None:
    pictures = {realm.name: np.asarray(emblems.render(realm.emblem, 96), int) for realm in realms()}
    for name, one in pictures.items():
        for other, two in pictures.items():
            if name != other:
                assert (np.abs(one - two).max(axis=2) > 48).mean() > 0.01, f"{name} and {other}"


def test_the_look_says_no_name_and_the_name_no_look() -> None:
    rng = np.random.default_rng(5)
    meant: dict[str, Emblem] = {}
    for _ in range(500):
        emblem = emblems.sample(rng)
        realm = realm_of(emblem)
        assert realm is not None
        seen, named, told = (say(emblem, rng) for say in (emblems.wording, emblems.naming, emblems.told))
        assert realm.name not in seen
        assert meant.setdefault(seen, emblem) == emblem
        assert not any(colour in (named + told).split() for colour in COLOURS)
        assert all(str(fact) in told for fact in realm.facts().values())


def test_an_emblem_that_nobody_bears_has_no_name() -> None:
    borne = realms()[0].emblem
    nobodys = next(
        other
        for other in (replace(borne, ink=colour) for colour in COLOURS if colour != borne.field)
        if realm_of(other) is None
    )
    with pytest.raises(KeyError):
        emblems.naming(nobodys, np.random.default_rng(0))
