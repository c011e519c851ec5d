"""What was made to fail is found, as small as it is, and nothing else is accused."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from flywheel.facets import Facet
from flywheel.triage.concepts import Case, Parts, fisher, suspects

SHAPES = ("circle", "square", "star", "ring", "heart", "cross")
COLOURS = ("red", "green", "blue", "yellow", "purple", "orange", "pink")
SIZES, GROUNDS = ("big", "small"), ("white", "grey", "black")


def world(lot: np.random.Generator, prompts: int, fails: Callable[[Parts], bool], noise: float = 0.06) -> list[Case]:
    found = []
    for at in range(prompts):
        parts = frozenset(str(lot.choice(kind)) for kind in (SHAPES, COLOURS, SIZES, GROUNDS))
        found.append(Case(prompt_id=str(at), parts=parts, fails=fails(parts) != (lot.random() < noise)))
    return found


def accused(cases: list[Case]) -> list[tuple[str, ...]]:
    return [one.parts for one in suspects(Facet.OBJECTS, cases)]


@pytest.mark.parametrize("seed", range(8))
def test_a_shape_that_fails_does_not_accuse_its_colours(seed: int) -> None:
    cases = world(np.random.default_rng(seed), 400, lambda parts: "cross" in parts)
    assert accused(cases) == [("cross",)]


@pytest.mark.parametrize("seed", range(8))
def test_a_pair_that_fails_does_not_accuse_its_parts(seed: int) -> None:
    cases = world(np.random.default_rng(seed), 900, lambda parts: {"green", "star"} <= parts)
    assert accused(cases) == [("green", "star")]


def test_several_things_that_fail_are_all_found() -> None:
    def fails(parts: Parts) -> bool:
        return "cross" in parts or "pink" in parts or {"ring", "black"} <= parts

    found = [accused(world(np.random.default_rng(seed), 900, fails)) for seed in range(6)]
    wanted = {("cross",), ("pink",), ("black", "ring")}
    assert sum(len(wanted & set(one)) for one in found) >= 0.95 * 3 * len(found)
    assert sum(len(set(one) - wanted) for one in found) <= 1


def test_where_nothing_fails_nobody_is_accused() -> None:
    alarms = sum(bool(accused(world(np.random.default_rng(seed), 300, lambda parts: False))) for seed in range(40))
    assert alarms <= 4  # five in a hundred, and a little more by chance


def test_fishers_test_is_fishers() -> None:
    """The lady tasting tea: three of four cups, as in his book."""

    def cups(right: int, wrong: int) -> list[Case]:
        return [Case(prompt_id="", parts=frozenset(), fails=at < right) for at in range(right + wrong)]

    assert fisher(cups(3, 1), cups(1, 3)) == pytest.approx(17 / 70)
    assert fisher(cups(0, 4), cups(4, 0)) == pytest.approx(1)
    assert fisher(cups(0, 4), []) == pytest.approx(1)
