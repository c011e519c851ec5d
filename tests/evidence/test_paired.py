"""Bounds cover what is true as often as they say, and clusters count as clusters."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from flywheel.evidence.paired import Paired, estimate, holm
from tests.evidence.updates import update

RIGHT = arrays(np.bool_, st.tuples(st.integers(1, 12), st.integers(1, 4)))


@given(RIGHT, st.integers(0, 99))
def test_an_arm_beside_itself_shows_nothing(right: np.ndarray, seed: int) -> None:
    found = estimate(Paired(candidate=right, other=right), seed)
    assert found.difference == 0
    assert found.p_above(0.0) == 1
    assert found.low(0.05) < 0 == found.high(0.05)


@given(st.integers(1, 30), st.integers(1, 4))
def test_few_prompts_prove_little_however_they_point(prompts: int, seeds: int) -> None:
    all_right, none_right = np.ones((prompts, seeds), bool), np.zeros((prompts, seeds), bool)
    assert estimate(Paired(candidate=all_right, other=none_right), 0).p_above(0.0) >= 0.5**prompts
    unharmed = estimate(Paired(candidate=all_right, other=all_right), 0)
    assert unharmed.low(0.05) == pytest.approx(0.05 ** (1 / prompts) - 1)  # as many may be hurt, unseen


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10_000), st.sampled_from([-0.05, 0.0, 0.08]))
def test_the_sign_turns_with_the_arms(seed: int, effect: float) -> None:
    one = update(80, 3, right=0.7, effect=effect, lot=np.random.default_rng(seed))
    there, back = estimate(one, 1), estimate(Paired(candidate=one.other, other=one.candidate), 1)
    assert there.difference == pytest.approx(-back.difference)
    assert there.p_above(0.0) + back.p_above(0.0) == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize(("seeds", "prompts"), [(1, 600), (8, 75)])
def test_the_lower_bound_is_above_the_truth_as_rarely_as_it_says(seeds: int, prompts: int) -> None:
    """With 600 pictures either way: eight seeds of a prompt are not eight prompts."""
    lot, truth = np.random.default_rng(5), 0.06
    above = 0
    for trial in range(400):
        gains = np.where(lot.random((prompts, 1)) < 0.5, 0.2 + 2 * truth, -0.2)  # whole prompts gain, or lose
        candidate, other = (lot.random((prompts, seeds)) < (1 + side * gains) / 2 for side in (1, -1))
        above += estimate(Paired(candidate=candidate, other=other), trial, 800).low(0.05) > truth
    assert above / 400 == pytest.approx(0.05, abs=0.03)


def test_holm_stops_at_the_first_that_does_not_hold() -> None:
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03}, 0.05) == {"a"}
    assert holm({"a": 0.01, "b": 0.02, "c": 0.05}, 0.05) == {"a", "b", "c"}
    assert holm({}, 0.05) == set()


def test_arms_of_other_prompts_are_no_pair() -> None:
    with pytest.raises(ValueError, match="same prompts and seeds"):
        Paired(candidate=np.ones((3, 2), bool), other=np.ones((2, 2), bool))
    with pytest.raises(ValueError, match="at least one"):
        Paired(candidate=np.ones((0, 2), bool), other=np.ones((0, 2), bool))
