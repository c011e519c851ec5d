"""Creatures: an identity of which every part can be seen, and clothes that do not change it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import strategies as st

from model.miniature.creature import (
    ACCESSORIES,
    CHOICES,
    Creature,
    distinct_identities,
    dressed,
    render,
    sample,
    wording,
)
from model.miniature.subject import SubjectError

creatures = st.integers(0, 2**32).map(lambda seed: sample(np.random.default_rng(seed)))


def test_clothes_change_the_creature_and_not_who_it_is() -> None:
    rng = np.random.default_rng(2)
    identity = sample(rng).identity
    worn = {dressed(identity, rng) for _ in range(100)}
    assert {creature.accessory for creature in worn} == set(ACCESSORIES)
    assert {creature.identity.vector() for creature in worn} == {identity.vector()}
    assert len({creature.subject_id for creature in worn}) == len(worn)
    assert distinct_identities() > 1000


@pytest.mark.parametrize("name", CHOICES)
def test_every_choice_can_be_seen_whatever_is_worn(name: str) -> None:
    rng = np.random.default_rng(3)
    for _ in range(30):
        creature = sample(rng)
        for choice in CHOICES[name]:
            other = replace(creature, identity=replace(creature.identity, **{name: choice}))
            if other == creature:
                continue
            # Chance moves both pictures: it must not be what tells them apart.
            apart = np.array([_apart(creature, other, seed) for seed in range(2)])
            assert apart.min() > 0.003, f"{creature} and {choice}"


def _apart(one: Creature, other: Creature, seed: int) -> float:
    pixels = [np.asarray(render(creature, 128, seed), int) for creature in (one, other)]
    return float((np.abs(pixels[0] - pixels[1]).max(axis=2) > 60).mean())


@pytest.mark.parametrize(
    "changes",
    [
        {"accessory": "crown", "accessory_colour": "red"},
        {"accessory": "hat"},
        {"accessory": "none", "accessory_colour": "red"},
        {"accessory": "hat", "accessory_colour": "pink"},
    ],
)
def test_what_nobody_wears_is_refused(changes: dict[str, str]) -> None:
    bare = replace(sample(np.random.default_rng(1)), accessory="none", accessory_colour=None)
    with pytest.raises(SubjectError):
        replace(bare, **changes)


def test_words_say_all_of_a_creature() -> None:
    rng = np.random.default_rng(4)
    meant: dict[str, str] = {}
    for _ in range(4000):
        creature = sample(rng)
        said = wording(creature, rng)
        assert meant.setdefault(said, creature.subject_id) == creature.subject_id, said
        assert all(getattr(creature.identity, name) in said for name in CHOICES)
        assert (creature.accessory in said) == (creature.accessory != "none")
