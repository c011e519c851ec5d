"""Figures are means over prompts, with intervals that cover, and repeats that agree or not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flywheel.evidence.share import wilson
from flywheel.suites.figures import Judged, agreement, figures


def judged(item: str, seed: int, score: float, *slices: str) -> Judged:
    return Judged(
        item_id=item, generation_id=f"{item} {seed}", facet="score", judge="j", score=score, slices=("all", *slices)
    )


def test_prompts_count_alike_however_many_pictures_they_have() -> None:
    found = [judged("a", seed, 1.0, "short") for seed in range(9)] + [judged("b", 0, 0.0, "long")]
    by_slice = {one.slice: one for one in figures(found)}
    assert by_slice["all"].mean == 0.5
    assert (by_slice["all"].prompts, by_slice["all"].pictures) == (2, 10)
    assert by_slice["short"].mean == 1.0
    assert by_slice["short"].low < 0.5  # one prompt shows little


def test_repeats_of_a_picture_agree_or_not() -> None:
    found = [judged("a", 0, 1.0), judged("a", 0, 1.0), judged("a", 0, 0.0), judged("b", 0, 1.0)]
    (figure,) = figures(found)
    assert figure.pictures == 2
    assert figure.agreement == pytest.approx(1 / 3)
    assert agreement([[1.0], [0.0]]) is None
    assert agreement([[1.0, 1.0], [0.0, 0.0]]) == 1


@given(st.floats(0, 1), st.integers(1, 500))
def test_an_interval_holds_its_mean_and_is_never_empty(mean: float, number: int) -> None:
    low, high = wilson(mean, number)
    assert 0 <= low <= mean + 1e-9
    assert mean - 1e-9 <= high <= 1
    assert high - low > 0


@pytest.mark.parametrize("share", [0.05, 0.5, 0.98])
def test_intervals_cover_the_truth(share: float) -> None:
    lot, covered = np.random.default_rng(0), 0
    for _ in range(1_000):
        low, high = wilson(float((lot.random(60) < share).mean()), 60)
        covered += low <= share <= high
    assert covered / 1_000 > 0.92
