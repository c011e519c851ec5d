"""Where a facet fails: the smallest concepts that tell prompts that fail from the others.

A prompt is a set of parts, as what is asked of ("shape cross", "script han", "three things"). Every part, and every two that come
together, is tested against all other prompts (Fisher's exact test, one-sided; Benjamini-Hochberg over all that were tested). Of those
that stand out the best explanation is taken, made as small as it can be, and what it explains is set aside; so a shape that cannot
be drawn does not accuse its seven colours, nor a pair its two parts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from math import exp, lgamma

FALSE_DISCOVERIES = 0.05
_LEAST = 6  # prompts that a concept needs to be tested; our choice
_ALIKE = 0.05  # two groups of prompts whose difference is less sure than this fail alike; our choice
Parts = frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """`fails`: most pictures of the prompt are wrong in the facet."""

    prompt_id: str
    parts: Parts
    fails: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspect:
    """`failing` of `prompts` with all these parts fail, and `elsewhere` of those that no suspect explains (a share).

    `facet`: a facet, or SCORE for the picture as a whole.
    """

    facet: str
    parts: tuple[str, ...]
    failing: int
    prompts: int
    elsewhere: float
    p: float


def suspects(facet: str, cases: Sequence[Case], false_discoveries: float = FALSE_DISCOVERIES) -> list[Suspect]:
    """The surest first; none where nothing stands out."""
    tested = {parts: _p(parts, cases) for parts in _candidates(cases)}
    standing = [parts for parts in tested if tested[parts] <= _cut(tested.values(), false_discoveries)]
    found: list[Suspect] = []
    left = list(cases)
    while standing:
        now = {parts: _p(parts, left) for parts in standing}
        best = min(standing, key=lambda parts: (now[parts], len(parts), sorted(parts)))
        if now[best] > _cut(tested.values(), false_discoveries):
            break
        chosen = _smallest(best, standing, left)
        inside, left = _split(left, chosen)
        elsewhere = sum(case.fails for case in left) / len(left) if left else 0.0
        found.append(
            Suspect(
                facet=facet,
                parts=tuple(sorted(chosen)),
                failing=sum(case.fails for case in inside),
                prompts=len(inside),
                elsewhere=elsewhere,
                p=now[best],
            )
        )
        standing = [parts for parts in standing if parts != chosen and parts != best]
    return found


def _candidates(cases: Sequence[Case]) -> list[Parts]:
    """Parts and pairs of parts that enough prompts have, and not all."""
    counts: Counter[Parts] = Counter()
    for case in cases:
        counts.update(frozenset([part]) for part in case.parts)
        counts.update(frozenset(pair) for pair in combinations(sorted(case.parts), 2))
    return [parts for parts, number in counts.items() if _LEAST <= number < len(cases)]


def _smallest(best: Parts, standing: Sequence[Parts], cases: Sequence[Case]) -> Parts:
    """What of it, or within it, really fails: a part alone where it fails without the other, too; a pair where it fails only so."""
    if len(best) == 2:
        for part in sorted(best):
            inside, outside = _split(cases, frozenset([part]))
            with_both, alone = _split(inside, best)
            if alone and fisher(alone, outside) <= _ALIKE < fisher(with_both, alone):
                return frozenset([part])
        return best
    inside, outside = _split(cases, best)
    pairs = [pair for pair in standing if len(pair) == 2 and best < pair]
    for pair in sorted(pairs, key=lambda pair: (_p(pair, inside), sorted(pair))):
        with_both, alone = _split(inside, pair)
        if alone and with_both and fisher(with_both, alone) <= _ALIKE < fisher(alone, outside):
            return pair
    return best


def _split(cases: Iterable[Case], parts: Parts) -> tuple[list[Case], list[Case]]:
    """Those with all these parts, and the others."""
    inside: list[Case] = []
    outside: list[Case] = []
    for case in cases:
        (inside if parts <= case.parts else outside).append(case)
    return inside, outside


def _p(parts: Parts, cases: Sequence[Case]) -> float:
    return fisher(*_split(cases, parts))


def _cut(p_values: Iterable[float], false_discoveries: float) -> float:
    """Benjamini-Hochberg: the largest p that holds; below 0 where none does."""
    ordered = sorted(p_values)
    holds = [p for rank, p in enumerate(ordered, 1) if p <= false_discoveries * rank / len(ordered)]
    return holds[-1] if holds else -1.0


def fisher(these: Sequence[Case], others: Sequence[Case]) -> float:
    """How likely these fail so much more often than the others by chance."""
    failing, all_failing = sum(case.fails for case in these), sum(case.fails for case in (*these, *others))
    return _hypergeometric(failing, all_failing, len(these), len(these) + len(others))


@cache
def _hypergeometric(drawn: int, marked: int, draws: int, number: int) -> float:
    """The chance of `drawn` marked ones or more among so many draws from so many."""
    most = min(marked, draws)
    terms = (
        _choose(marked, at) + _choose(number - marked, draws - at) - _choose(number, draws)
        for at in range(drawn, most + 1)
        if draws - at <= number - marked
    )
    return min(1.0, sum(map(exp, terms)))


def _choose(of: int, number: int) -> float:
    """The logarithm of the binomial coefficient."""
    return lgamma(of + 1) - lgamma(number + 1) - lgamma(of - number + 1)
