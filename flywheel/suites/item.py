"""One prompt of a suite, what judges are asked of its pictures, and what that amounts to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flywheel.facets import Facet
from flywheel.seeds import stable_hash


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """`labels` are what it is counted under (category, script, length …); `checks` what its suite's rule needs to know.

    `references`: paths of pictures that an edit begins with.
    """

    suite: str
    key: str
    prompt: str
    references: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    checks: Mapping[str, Any] = field(default_factory=dict)

    @property
    def item_id(self) -> str:
        """Of what is asked: another key for the same prompt and checks is the same item."""
        return stable_hash([self.suite, self.prompt, list(self.references), dict(self.checks)], 32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A detection: (x0, y0, x1, y1) in any unit, y downwards. `colour` where one was wanted."""

    box: tuple[float, float, float, float]
    confidence: float
    colour: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is to be looked for in a picture. `colours`: whether those of boxes matter; `reads`: whether its text does."""

    classes: tuple[str, ...] = ()
    colours: bool = False
    questions: tuple[str, ...] = ()
    reads: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What was found: boxes by class; the chance of yes by question; lines in reading order."""

    boxes: Mapping[str, Sequence[Box]] = field(default_factory=dict)
    answers: Mapping[str, float] = field(default_factory=dict)
    lines: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """`score` is the suite's own figure of this picture, 0..1; facets that it says nothing of are left out.

    `weight`: how much the picture counts in the suite's total. `why` names what is missing, in the order of the rule.
    """

    score: float
    facets: Mapping[Facet, float]
    why: tuple[str, ...] = ()
    weight: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """`load` raises UsageError, naming the line, for a file that is none of its kind. `total` is the figure that is published."""

    says: str
    load: Callable[[Path], list[Item]]
    wanted: Callable[[Item], Wanted]
    scored: Callable[[Item, Seen], Scored]
    total: Callable[[Sequence[tuple[Item, Scored]]], float]


def mean_of_pictures(found: Sequence[tuple[Item, Scored]]) -> float:
    """Every picture by its weight."""
    whole = sum(scored.weight for _, scored in found)
    return sum(scored.score * scored.weight for _, scored in found) / whole if whole else 0.0


def mean_of_labels(found: Sequence[tuple[Item, Scored]], label: str) -> float:
    """The mean of every label's mean: how many prompts it has does not matter."""
    by_label: dict[str, list[float]] = {}
    for item, scored in found:
        by_label.setdefault(item.labels[label], []).append(scored.score)
    return sum(sum(scores) / len(scores) for scores in by_label.values()) / len(by_label) if by_label else 0.0
