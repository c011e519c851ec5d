"""From what was said of pictures to failures: by how many, of what, how badly.

A picture fails in whole, or in a facet, where the mean of what raters say is below the bar, or most of them complain of something.
Each rater is heard once, so that a duplicate weighs nothing; one who mostly contradicts the others is not heard at all.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from flywheel.facets import Facet
from flywheel.signals.feedback import Feedback

BAR = 0.5  # below it a score is bad; our choice
_KNOWN_BY = 20  # pictures, of which others were heard too, before a rater is judged; our choice
_AGREES = 0.6  # share of them on which a rater must side with most others: a coin is below it; our choice


@dataclass(frozen=True, slots=True, kw_only=True)
class Failing:
    """A picture that failed. `said`: who was heard, one each; `bad`: the share of them that find it bad. `severity` 0..1."""

    said: tuple[Feedback, ...]
    facets: tuple[Facet, ...]
    bad: float
    severity: float

    @property
    def first(self) -> Feedback:
        return self.said[0]


def failing(feedback: Iterable[Feedback]) -> list[Failing]:
    """Pictures that most find bad, in whole or in a facet; in the order in which they were spoken of."""
    by_picture = _heard_once(feedback)
    deaf = unreliable(by_picture)
    found = []
    for said in by_picture.values():
        heard = [one for one in said if one.actor not in deaf or not one.actor]
        one = _failing(heard) if heard else None
        if one is not None:
            found.append(one)
    return found


def last_of_all(feedback: Iterable[Feedback]) -> list[Failing]:
    """Pictures that were put behind every other of their prompt. How bad they are, nobody said: half."""
    return [Failing(said=(one,), facets=(), bad=1.0, severity=0.5) for one in feedback if one.rank == 0]


def unreliable(by_picture: Mapping[str, Sequence[Feedback]]) -> frozenset[str]:
    """Raters who side with most others on less than half of the pictures that both have seen."""
    sides: dict[str, list[bool]] = defaultdict(list)
    for said in by_picture.values():
        for one in said:
            others = [is_bad(other) for other in said if other.actor != one.actor]
            if one.actor and 2 * sum(others) != len(others):  # an even split says nothing
                sides[one.actor].append(is_bad(one) == (2 * sum(others) > len(others)))
    return frozenset(
        actor for actor, agrees in sides.items() if len(agrees) >= _KNOWN_BY and sum(agrees) / len(agrees) < _AGREES
    )


def is_bad(said: Feedback) -> bool:
    """In whole, or in any facet."""
    scores = [*said.facets.values(), *([] if said.score is None else [said.score])]
    return any(score < BAR for score in scores)


def _heard_once(feedback: Iterable[Feedback]) -> dict[str, list[Feedback]]:
    """By picture; of each rater the last word. Those without a name are told apart by what they say."""
    found: dict[str, dict[str, Feedback]] = defaultdict(dict)
    for one in feedback:
        found[one.picture][one.actor or one.feedback_id] = one
    return {picture: list(said.values()) for picture, said in found.items()}


def _failing(said: Sequence[Feedback]) -> Failing | None:
    bad = sum(map(is_bad, said)) / len(said)
    score = _mean([one.score for one in said if one.score is not None])
    means = {facet: _mean([one.facets[facet] for one in said if facet in one.facets]) for facet in Facet}
    facets = tuple(facet for facet, mean in means.items() if mean < BAR)
    if bad <= BAR <= score and not facets:
        return None
    return Failing(said=tuple(said), facets=facets, bad=bad, severity=1 - min(score, *means.values()))


def _mean(scores: Sequence[float]) -> float:
    """1 where nobody said anything: no news is no failure."""
    return sum(scores) / len(scores) if scores else 1.0
