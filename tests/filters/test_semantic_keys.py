"""Vectors nearly alike share a key; others do not, and none is a key of a hash."""

from __future__ import annotations

import numpy as np

from filters.scorers.phash import KIND_SHIFT
from filters.semantic_keys import KEYS, semantic_keys


def turned(vectors: np.ndarray, cosine: float, rng: np.random.Generator) -> np.ndarray:
    """Others at that cosine."""
    aside = rng.standard_normal(vectors.shape)
    aside -= (aside * vectors).sum(1, keepdims=True) * vectors
    aside /= np.linalg.norm(aside, axis=1, keepdims=True)
    return cosine * vectors + np.sqrt(1 - cosine**2) * aside


def unit(number: int, rng: np.random.Generator) -> np.ndarray:
    vectors = rng.standard_normal((number, 192))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def shared(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return (semantic_keys(one.astype(np.float32)) == semantic_keys(other.astype(np.float32))).any(1)


def test_the_nearer_two_vectors_are_the_likelier_they_share_a_key() -> None:
    rng = np.random.default_rng(1)
    vectors = unit(3000, rng)
    shares = {cosine: shared(vectors, turned(vectors, cosine, rng)).mean() for cosine in (0.6, 0.97, 0.985, 0.999)}
    assert shares[0.999] > 0.99
    assert shares[0.985] > 0.9
    assert 0.6 < shares[0.97] < 0.8
    assert shares[0.6] < 0.002


def test_keys_are_no_hash_keys_and_depend_on_nothing_but_the_vector() -> None:
    vectors = unit(50, np.random.default_rng(2)).astype(np.float32)
    keys = semantic_keys(vectors)
    assert keys.shape == (50, KEYS)
    assert (keys >> KIND_SHIFT).min() >= 8
    assert np.array_equal(keys, np.concatenate([semantic_keys(one[None]) for one in vectors]))
