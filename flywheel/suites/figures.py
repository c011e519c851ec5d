"""From scores of pictures to figures of a suite, with how sure one may be of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from flywheel.evidence.share import wilson


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One facet of one picture, as one judge saw it once. `slices`: what its prompt is counted under, with `all` first."""

    item_id: str
    generation_id: str
    facet: str
    judge: str
    score: float
    slices: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """`low` and `high`: 95 %, over prompts: seeds of one prompt are alike. `agreement`: of repeats; None where there are none."""

    slice: str
    facet: str
    judge: str
    mean: float
    low: float
    high: float
    prompts: int
    pictures: int
    agreement: float | None


def figures(judged: Iterable[Judged]) -> list[Figure]:
    """A figure a slice, facet and judge, in the order in which they come."""
    by_figure: dict[tuple[str, str, str], dict[str, dict[str, list[float]]]] = defaultdict(lambda: defaultdict(dict))
    for one in judged:
        for name in one.slices:
            pictures = by_figure[name, one.facet, one.judge][one.item_id]
            pictures.setdefault(one.generation_id, []).append(one.score)
    return [_figure(key, items) for key, items in by_figure.items()]


def _figure(key: tuple[str, str, str], items: Mapping[str, Mapping[str, Sequence[float]]]) -> Figure:
    means = [_mean([_mean(repeats) for repeats in pictures.values()]) for pictures in items.values()]
    mean = _mean(means)
    low, high = wilson(mean, len(means))
    repeats = [scores for pictures in items.values() for scores in pictures.values()]
    return Figure(
        slice=key[0],
        facet=key[1],
        judge=key[2],
        mean=mean,
        low=low,
        high=high,
        prompts=len(items),
        pictures=len(repeats),
        agreement=agreement(repeats),
    )


def agreement(repeats: Sequence[Sequence[float]]) -> float | None:
    """The share of pairs of repeats that say the same, over all pictures."""
    pairs = same = 0
    for scores in repeats:
        rounded = [round(score, 6) for score in scores]
        pairs += len(rounded) * (len(rounded) - 1)
        same += sum(rounded.count(score) - 1 for score in rounded)
    return same / pairs if pairs else None


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
