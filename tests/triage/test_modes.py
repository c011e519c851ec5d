"""Failures that fail alike become modes, by facet and concept."""

from __future__ import annotations

import numpy as np
import pytest

from flywheel.facets import SCORE, Facet
from flywheel.triage.modes import Seen, measured, mode_id, modes, named
from flywheel.triage.terms import terms

SHAPES, COLOURS = ("ring", "cross", "star", "square"), ("red", "blue", "pink")


def pictures(seed: int, bad: str, facet: str = Facet.OBJECTS, *, rate: float = 0.9, seeds: int = 2) -> list[Seen]:
    """Prompts of a shape and a colour; those that name `bad` fail at `rate`, all others at .05."""
    lot = np.random.default_rng(seed)
    found = []
    for at in range(160):
        parts = frozenset([str(lot.choice(SHAPES)), str(lot.choice(COLOURS))])
        for again in range(seeds):
            fails = lot.random() < (rate if bad in parts else 0.05)
            picture = f"{at} {again}"
            found.append(Seen(picture=picture, prompt_id=str(at), parts=parts, means={facet: 0.25 if fails else 1.0}))
    return found


def test_a_concept_that_fails_is_a_mode_of_its_pictures() -> None:
    seen = pictures(0, "cross")
    first = modes(seen)[0]
    assert (first.facet, first.parts) == (Facet.OBJECTS, ("cross",))
    assert set(first.pictures) == {one.picture for one in seen if "cross" in one.parts and one.fails(Facet.OBJECTS)}
    assert first.severity == pytest.approx(0.75)
    assert first.failing / first.prompts > 0.7 > 0.2 > first.elsewhere


def test_a_mode_has_one_name_in_every_iteration() -> None:
    assert len({modes(pictures(seed, "pink"))[0].mode_id for seed in range(3)}) == 1
    assert mode_id(Facet.WORDS, ("a", "b")) == mode_id("words", ("b", "a")) != mode_id(Facet.COUNTS, ("a", "b"))


def test_what_no_concept_explains_is_one_mode_more() -> None:
    lot = np.random.default_rng(4)
    seen = [
        Seen(
            picture=str(at),
            prompt_id=str(at),
            parts=frozenset([f"word {at}"]),
            means={SCORE: float(lot.random() < 0.5)},
        )
        for at in range(40)
    ]
    (rest,) = modes(seen)
    assert (rest.parts, rest.failing, rest.prompts) == ((), len(rest.pictures), 40)
    assert "no concept stands out" in named(rest.facet, rest.parts)
    assert modes([one for one in seen if not one.fails(SCORE)]) == []


def test_every_failing_picture_belongs_somewhere() -> None:
    for seed in range(4):
        seen = pictures(seed, "ring", Facet.COUNTS, rate=0.7)
        held = {picture for mode in modes(seen) for picture in mode.pictures}
        assert held == {one.picture for one in seen if one.fails(Facet.COUNTS)}


def test_where_facets_are_told_the_whole_says_nothing_more() -> None:
    seen = [
        Seen(picture=str(at), prompt_id=str(at), parts=frozenset("x"), means={SCORE: 0.0, Facet.WORDS: 0.0})
        for at in range(9)
    ]
    assert {mode.facet for mode in modes(seen)} == {Facet.WORDS}


def test_a_known_mode_is_measured_though_it_no_longer_stands_out() -> None:
    healed = pictures(7, "nothing")
    now = measured(healed, Facet.OBJECTS, ("cross",))
    assert now is not None
    assert now.failing / now.prompts < 0.2
    assert measured(healed, Facet.OBJECTS, ("zebra",)) is None
    over = measured(healed, Facet.OBJECTS, ())
    assert over is not None
    assert (over.failing, over.pictures) == (0, ())


@pytest.mark.parametrize(
    ("prompt", "has", "lacks"),
    [
        (
            'A red mug on the tables that says "HELLO THERE"',
            {"red", "mug", "table", "text in quotes"},
            {"hello", "the"},
        ),
        ("two glasses left of a bus", {"two", "glasse", "left", "bus"}, {"of", "a"}),
        ("一只猫", {"一", "猫"}, set()),
        ('a sign "你好"', {"sign", "text in quotes", "han text"}, {"你"}),
        ("word " * 60, {"over 256 characters"}, {"over 64 characters"}),
    ],
)
def test_terms_of_a_prompt(prompt: str, has: set[str], lacks: set[str]) -> None:
    assert has <= terms(prompt)
    assert not lacks & terms(prompt)
