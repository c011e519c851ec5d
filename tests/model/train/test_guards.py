"""A step that is not finite or a spike is left out; several in a row lead back; calm runs are left alone."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from model.train.guards import Decision, Guard, GuardConfig, judged

CONFIG = GuardConfig(window=30, warm_up=10, deviations=8.0, patience=3)


def calm(number: int = 30) -> Guard:
    guard = Guard()
    for at in range(number):
        decision, guard = judged(guard, CONFIG, 1.0 + 0.05 * math.sin(at), 1.0)
        assert decision is Decision.TAKE
    return guard


@given(st.sampled_from([math.nan, math.inf, -math.inf]), st.booleans())
def test_what_is_not_finite_is_never_taken(value: float, loss: bool) -> None:
    decision, after = judged(calm(), CONFIG, value if loss else 1.0, 1.0 if loss else value)
    assert decision is Decision.SKIP_NON_FINITE
    assert after.losses == calm().losses


def test_a_spike_is_left_out_and_does_not_move_the_middle() -> None:
    decision, after = judged(calm(), CONFIG, 5.0, 1.0)
    assert decision is Decision.SKIP_SPIKE
    assert judged(after, CONFIG, 1.0, 1.0) == (Decision.TAKE, Guard(losses=(*calm().losses, 1.0)[-30:]))


def test_several_in_a_row_lead_back_and_the_count_begins_anew() -> None:
    guard, seen = calm(), []
    for loss in (5.0, math.nan, 6.0, 5.0):
        decision, guard = judged(guard, CONFIG, loss, 1.0)
        seen.append(decision)
    assert seen == [Decision.SKIP_SPIKE, Decision.SKIP_NON_FINITE, Decision.ROLL_BACK, Decision.SKIP_SPIKE]


def test_nothing_is_a_spike_while_little_is_known() -> None:
    guard = calm(9)
    assert judged(guard, CONFIG, 50.0, 1.0)[0] is Decision.TAKE


@given(st.lists(st.floats(0.9, 1.1), min_size=30, max_size=60))
def test_a_falling_or_steady_loss_is_always_taken(noise: list[float]) -> None:
    guard = Guard()
    for at, wobble in enumerate(noise):
        decision, guard = judged(guard, CONFIG, wobble * 0.98**at, 1.0)
        assert decision is Decision.TAKE
    assert len(guard.losses) <= 30
