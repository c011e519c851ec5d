"""Rankings made of rankings, and what is chosen from them: fused, spread out, kept apart from a set."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]
_RANKS = 60  # of reciprocal rank fusion: Cormack, Clarke and Büttcher 2009


def fused(rankings: Sequence[Sequence[str]]) -> list[tuple[str, float]]:
    """Reciprocal rank fusion: each ranking gives 1 / (60 + place). Best first, equal ones by id."""
    scores: defaultdict[str, float] = defaultdict(float)
    for ranking in rankings:
        for place, one in enumerate(ranking, 1):
            scores[one] += 1 / (_RANKS + place)
    return sorted(scores.items(), key=lambda hit: (-hit[1], hit[0]))


def diverse(relevance: npt.NDArray[np.float64], vectors: Vectors, k: int, weight: float = 0.7) -> list[int]:
    """Maximal marginal relevance (Carbonell and Goldstein 1998): places of k candidates, in the order chosen.

    Each next one has the best `weight * relevance - (1 - weight) * likeness`, likeness being its largest cosine with those
    chosen before. vectors: (candidates, dims), of length one. Of equal ones the first.
    """
    chosen: list[int] = []
    left = np.ones(len(vectors), dtype=bool)
    likeness = np.zeros(len(vectors))  # to those chosen, of which there are none yet
    for _ in range(min(k, len(vectors))):
        worth = weight * relevance - (1 - weight) * likeness
        worth[~left] = -np.inf
        best = int(np.argmax(worth))
        chosen.append(best)
        left[best] = False
        alike = vectors @ vectors[best]
        likeness = alike if len(chosen) == 1 else np.maximum(likeness, alike)
    return chosen


def apart(vectors: Vectors, forbidden: Vectors, cosine: float) -> npt.NDArray[np.bool_]:
    """Which vectors are less alike than `cosine` to every forbidden one: decontamination."""
    if not len(forbidden) or not len(vectors):
        return np.ones(len(vectors), dtype=bool)
    return np.asarray((vectors @ forbidden.T).max(1) < cosine)


def one_a_group(ranked: Iterable[str], group_of: Mapping[str, str]) -> list[str]:
    """The best of each group; whoever is in no group is one by itself."""
    seen: set[str] = set()
    kept = []
    for one in ranked:
        group = group_of.get(one, one)
        if group not in seen:
            seen.add(group)
            kept.append(one)
    return kept


def recall(found: Sequence[Sequence[str]], true: Sequence[Sequence[str]]) -> float:
    """The mean share of true neighbours that were found."""
    return float(np.mean([len(set(one) & set(other)) / len(other) for one, other in zip(found, true, strict=True)]))
