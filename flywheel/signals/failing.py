"""From what was said of pictures to failures: by how many, of what, how badly.

A picture fails in whole, or in a facet, where the mean of what raters say is below the bar, or most of them complain of something.
Each rater is heard once, so that a duplicate weighs nothing; one who mostly contradicts the others is not heard at all.
Who reviewed what was said has the last word.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from flywheel.facets import BAR, SCORE, Facet
from flywheel.signals.feedback import REVIEW, Feedback

_KNOWN_BY = 20  # pictures, of which others were heard too, before a rater is judged; our choice
_AGREES = 0.6  # share of them on which a rater must side with most others: a coin is below it; our choice
_UNTOLD = 0.5  # how bad is what was put behind every other of its prompt: nobody says; our choice


@dataclass(frozen=True, slots=True, kw_only=True)
class Spoken:
    """A picture that was spoken of. `said`: who was heard, one each; `bad`: the share of them that find it bad.

    `means`: of what was asked, the facets and SCORE for the whole, 0 for bad to 1 for good.
    """

    said: tuple[Feedback, ...]
    bad: float
    means: Mapping[str, float]

    @property
    def first(self) -> Feedback:
        return self.said[0]

    @property
    def facets(self) -> tuple[Facet, ...]:
        """Those that fail."""
        return tuple(facet for facet in Facet if self.means.get(facet, 1.0) < BAR)

    @property
    def is_last(self) -> bool:
        """Whether it was put behind every other of its prompt, and nothing else was said."""
        return not self.means and any(one.rank == 0 for one in self.said)

    @property
    def fails(self) -> bool:
        return self.is_last or self.bad > BAR or any(mean < BAR for mean in self.means.values())

    @property
    def severity(self) -> float:
        """0..1; of what was asked, the worst."""
        return _UNTOLD if self.is_last else 1 - min(self.means.values(), default=1.0)


def spoken(feedback: Iterable[Feedback]) -> list[Spoken]:
    """A picture each, in the order in which they were spoken of; those that only deaf ears spoke of are left out."""
    by_picture = _heard_once(feedback)
    deaf = unreliable(by_picture)
    return [_spoken(heard) for said in by_picture.values() if (heard := _heard(said, deaf))]


def _heard(said: Sequence[Feedback], deaf: Collection[str]) -> list[Feedback]:
    """The last review, where there is one; else all but the deaf."""
    reviews = [one for one in said if one.source == REVIEW]
    return reviews[-1:] or [one for one in said if one.actor not in deaf or not one.actor]


def failing(feedback: Iterable[Feedback]) -> list[Spoken]:
    """Pictures that most find bad, in whole or in a facet, or that were put behind every other of their prompt."""
    return [one for one in spoken(feedback) if one.fails]


def unreliable(by_picture: Mapping[str, Sequence[Feedback]]) -> frozenset[str]:
    """Raters who side with most others on too few of the pictures that both have seen."""
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
    return any(score < BAR for score in _scores(said).values())


def _scores(said: Feedback) -> dict[str, float]:
    whole = {} if said.score is None else {SCORE: said.score}
    return {**whole, **{str(facet): score for facet, score in said.facets.items()}}


def _heard_once(feedback: Iterable[Feedback]) -> dict[str, list[Feedback]]:
    """By picture; of each rater the last word. Those without a name are told apart by what they say."""
    found: dict[str, dict[str, Feedback]] = defaultdict(dict)
    for one in feedback:
        found[one.picture][REVIEW if one.source == REVIEW else one.actor or one.feedback_id] = one
    return {picture: list(said.values()) for picture, said in found.items()}


def _spoken(said: Sequence[Feedback]) -> Spoken:
    scores: dict[str, list[float]] = defaultdict(list)
    for one in said:
        for name, score in _scores(one).items():
            scores[name].append(score)
    return Spoken(
        said=tuple(said),
        bad=sum(map(is_bad, said)) / len(said),
        means={name: sum(of) / len(of) for name, of in scores.items()},
    )
