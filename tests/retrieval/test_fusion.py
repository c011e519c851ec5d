"""Rankings of rankings: laws that hold for any input."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from retrieval.fusion import apart, diverse, fused, one_a_group, recall

names = st.lists(st.sampled_from("abcdefgh"), unique=True)
seeds = st.integers(0, 2**32)


def units(seed: int, number: int, dims: int = 6) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(number, dims)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@given(names, names)
def test_fusion_keeps_everybody_and_who_is_better_in_both(one: list[str], other: list[str]) -> None:
    told = fused([one, other])
    ranked = [name for name, _ in told]
    assert set(ranked) == {*one, *other}
    assert [score for _, score in told] == sorted((score for _, score in told), reverse=True)
    for better in one:
        for worse in one[one.index(better) + 1 :]:
            if better in other and worse in other and other.index(better) < other.index(worse):
                assert ranked.index(better) < ranked.index(worse)
    assert fused([one, other]) == fused([other, one])


@given(seeds, st.integers(1, 12), st.integers(1, 12))
def test_diversity_chooses_different_ones_and_the_best_first(seed: int, number: int, k: int) -> None:
    vectors, relevance = units(seed, number), np.random.default_rng(seed).uniform(0, 1, number)
    chosen = diverse(relevance, vectors, k)
    assert len(chosen) == len(set(chosen)) == min(k, number)
    assert chosen[0] == int(np.argmax(relevance))
    assert diverse(relevance, vectors, k, weight=1.0) == list(np.argsort(-relevance, kind="stable")[:k])


def test_diversity_passes_over_twins() -> None:
    vectors = np.array([[1, 0], [1, 0], [0, 1]], np.float32)
    assert diverse(np.array([1.0, 0.99, 0.8]), vectors, 2) == [0, 2]


@given(seeds, st.integers(0, 8), st.integers(0, 8), st.floats(-0.9, 0.99))
def test_nobody_that_is_left_is_near_what_is_forbidden(seed: int, number: int, banned: int, cosine: float) -> None:
    vectors, forbidden = units(seed, number), units(seed + 1, banned)
    clean = apart(vectors, forbidden, cosine)
    near = vectors @ forbidden.T
    assert all((row < cosine).all() == good for row, good in zip(near, clean, strict=True))


@given(names, st.dictionaries(st.sampled_from("abcdefgh"), st.sampled_from("xyz")))
def test_of_each_group_the_best_stays(ranked: list[str], group_of: dict[str, str]) -> None:
    kept = one_a_group(ranked, group_of)
    groups = [group_of.get(one, one) for one in kept]
    assert len(groups) == len(set(groups))
    assert {group_of.get(one, one) for one in ranked} == set(groups)
    assert kept == [one for one in ranked if one in kept]
    for one in ranked:
        best = next(other for other in ranked if group_of.get(other, other) == group_of.get(one, one))
        assert best in kept


def test_recall_is_the_share_of_true_neighbours() -> None:
    assert recall([["a", "b"], ["c", "d"]], [["a", "b"], ["c", "x"]]) == 0.75
