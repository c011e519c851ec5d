"""Calibration: another scorer version, the same yield."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from filters.calibrate import DIGITS, Remeasured, changed_rules, moved, propose, remeasured_sql
from filters.policy import Policy, bundled, parse
from filters.rules import RULES, Bound
from flywheel.errors import PolicyError

CPU = bundled("cpu")
SHARPER = {"sharpness": "sharpness-2"}
TONE = {"tone": "tone-2"}

numbers = st.lists(st.integers(-3000, 3000).map(lambda n: n / 100), min_size=1, max_size=30).map(np.array)
bounds = st.sampled_from(["min", "max"])


@st.composite
def thresholds(draw: st.DrawFn) -> tuple[Bound, tuple[float, ...]]:
    """As people write them: few digits, tightening from stage to stage."""
    bound: Bound = draw(bounds)
    values = draw(st.lists(st.integers(-35_000, 35_000), min_size=1, max_size=6))
    return bound, tuple(n / 1000 for n in sorted(values, reverse=bound == "max"))


def fails(bound: Bound, threshold: float, values: Any) -> Any:
    return values < threshold if bound == "min" else values > threshold


@given(thresholds(), numbers)
@example(("max", (0.985, 0.98, 0.975)), np.array([*np.linspace(0.0, 0.94, 59), 0.947, 0.99]))
def test_numbers_that_did_not_change_keep_their_thresholds(asked: tuple[Bound, Any], old: Any) -> None:
    bound, values = asked
    assert moved(values, bound, old, old.copy()) == values


@given(thresholds(), numbers, st.floats(1e-3, 1e3), st.floats(-1e3, 1e3))
def test_rescaled_numbers_fail_the_same_images(asked: tuple[Bound, Any], old: Any, times: float, plus: float) -> None:
    bound, values = asked
    new = old * times + plus
    assume(len(np.unique(new)) == len(np.unique(old)))  # the rescaling itself may round two numbers into one
    for before, after in zip(values, moved(values, bound, old, new), strict=True):
        assert (fails(bound, before, old) == fails(bound, after, new)).all()


@given(thresholds(), numbers, st.randoms(use_true_random=False))
def test_any_other_numbers_fail_as_often(asked: tuple[Bound, Any], old: Any, chance: Any) -> None:
    bound, values = asked
    new = np.array(chance.sample(range(10**6), len(old))) / 7
    for before, after in zip(values, moved(values, bound, old, new), strict=True):
        assert fails(bound, before, old).sum() == fails(bound, after, new).sum()


@given(thresholds(), numbers, st.lists(st.integers(0, 5), min_size=30, max_size=30).map(np.array))
def test_equal_numbers_fail_together_and_stages_tighten(asked: tuple[Bound, Any], old: Any, coarse: Any) -> None:
    bound, values = asked
    new = coarse[: len(old)].astype(np.float64)
    found = moved(values, bound, old, new)
    assert all(b >= a if bound == "min" else b <= a for a, b in pairwise(found))
    counts = np.unique(new if bound == "min" else -new, return_counts=True)[1]
    for before, after in zip(values, found, strict=True):
        wanted, got = fails(bound, before, old).sum(), fails(bound, after, new).sum()
        possible = {0, *np.cumsum(counts)} - ({len(new)} if wanted < len(new) else set())
        assert abs(got - wanted) == min(abs(count - wanted) for count in possible)


def test_stages_that_share_a_gap_do_not_loosen_within_it() -> None:
    old, new = np.arange(9.0), np.array([0.0, 1, 1, 1, 1, 1, 1, 1, 2])
    assert moved((0.9, 1.1), "min", old, new) == (0.9, 0.9)
    assert moved((7.1, 6.9), "max", old, new) == (1.1, 1.1)


def test_a_threshold_gets_more_digits_where_few_would_cross_an_image() -> None:
    close = np.array([0.1234561, 0.1234562, 0.1234563, 0.9])
    (cut,) = moved([0.5], "min", np.array([0.1, 0.2, 0.6, 0.9]), close)
    assert close[1] < cut <= close[2]
    neighbours = np.array([1.0, math.nextafter(1.0, 2.0)])
    assert moved([1.1], "min", np.array([1.0, 2.0]), neighbours) == (neighbours[1],)
    (wide,) = moved([1 / 3], "min", np.array([0.1, 0.2, 0.6, 0.9]), np.array([1.0, 2.0, 6.0, 9.0]))
    assert wide == float(f"{10 / 3:.{DIGITS}g}")


def test_where_nothing_fails_the_distance_is_kept() -> None:
    old = np.linspace(5, 9, 60)
    assert moved([4, 4.5], "min", old, old / 10) == pytest.approx((0.4, 0.45))
    assert moved([10.0], "min", old, old / 10) == pytest.approx((1.0,))
    assert str(moved([0.0], "max", old - 10, old - 10)[0]) == "0.0"
    assert moved([4.0], "min", np.full(60, 5.0), np.full(60, 7.0)) == (6.0,)


def _found(rule: str, photos: Any, others: Any, photos_new: Any, others_new: Any) -> dict[str, Remeasured]:
    domain = np.array(["photo"] * len(photos) + ["design"] * len(others))
    return {rule: Remeasured(domain, np.concatenate([photos, others]), np.concatenate([photos_new, others_new]))}


def _failing(policy: Policy, rule: str, bound: Bound, domain: Any, values: Any) -> list[int]:
    """How many images a bound of the policy fails at each stage, each by its domain's threshold."""
    rows = [policy.values(RULES[rule], bound, str(name)) or () for name in domain]
    limits = np.array(rows)
    return [int(fails(bound, limits[:, stage], values).sum()) for stage in range(limits.shape[1])]


@pytest.mark.parametrize("bound", ["min", "max"])
def test_a_default_is_read_off_the_domains_that_inherit_it(bound: Bound) -> None:
    """Photographs override only the minimum of entropy, so the maximum is theirs, too."""
    chance = np.random.default_rng(3)
    photos, others = chance.uniform(1.5, 8, 400), chance.uniform(0, 7.975, 100)
    found = _found("entropy", photos, others, photos / 2 + 1, others / 2 - 3)
    both = {**found, "flat": found["entropy"], "luma": found["entropy"]}
    proposed = parse(propose(CPU, both, TONE))
    assert set(proposed.rules["entropy"].by_domain) == {"photo"}
    assert proposed.rules["entropy"].by_domain["photo"].max is None
    told = found["entropy"]
    before = _failing(CPU, "entropy", bound, told.domain, told.old)
    assert _failing(proposed, "entropy", bound, told.domain, told.new) == before
    assert before[-1] > 0


def test_a_domain_with_too_few_images_is_read_off_all() -> None:
    photos, others = np.linspace(1, 7, 20), np.linspace(0, 7, 100)
    found = _found("entropy", photos, others, photos * 2, others * 2)
    both = {**found, "flat": found["entropy"], "luma": found["entropy"]}
    proposed = parse(propose(CPU, both, TONE)).rules["entropy"].by_domain["photo"].min
    assert proposed == moved((2, 2, 2.5, 3, 3, 3.5), "min", found["entropy"].old, found["entropy"].new)


def test_only_what_changed_is_proposed_anew() -> None:
    chance = np.random.default_rng(1)
    old = chance.uniform(0.3, 1, 500)
    text = propose(CPU, {"sharpness": Remeasured(np.full(500, "photo"), old, old**2)}, SHARPER)
    proposed = parse(text)
    assert proposed.calibrated_for == {**CPU.calibrated_for, **SHARPER}
    assert {name: rule for name, rule in proposed.rules.items() if name != "sharpness"} == {
        name: rule for name, rule in CPU.rules.items() if name != "sharpness"
    }
    limits = proposed.rules["sharpness"].min
    assert limits is not None
    assert all(
        math.sqrt(cut) == pytest.approx(was, abs=0.02) for cut, was in zip(limits, (0.5, 0.52, 0.55), strict=True)
    )
    assert [rule.name for rule in changed_rules(CPU, SHARPER)] == ["sharpness"]
    assert changed_rules(CPU, CPU.calibrated_for) == ()


def test_too_few_images_are_refused() -> None:
    few = np.linspace(0, 1, 10)
    with pytest.raises(PolicyError, match="rule sharpness: 10 images"):
        propose(CPU, {"sharpness": Remeasured(np.full(10, "photo"), few, few)}, SHARPER)


def test_only_images_with_both_numbers_count() -> None:
    def scores(values: list[float | None]) -> pa.Table:
        return pa.table(
            {"image_id": ["a", "b", "c"], "domain": ["photo"] * 3, "sharpness": pa.array(values, pa.float64())}
        )

    with duckdb.connect() as connection:
        connection.register("old_scores", scores([0.1, None, 0.3]))
        connection.register("new_scores", scores([1.0, 2.0, None]))
        rows = connection.sql(remeasured_sql(RULES["sharpness"], "old_scores", "new_scores")).fetchall()
    assert rows == [("photo", 0.1, 1.0)]
