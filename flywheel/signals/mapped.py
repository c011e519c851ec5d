"""Feedback from any table: which column says what.

A thumb, a yes, a number on a scale: whatever says good or bad becomes 0 to 1.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from flywheel.errors import UsageError
from flywheel.facets import Facet
from flywheel.signals.feedback import Feedback

_TEXTS = ("prompt", "image", "generation", "checkpoint", "comment", "actor", "at")
# Names that columns go by; the first that is there counts.
_USUAL: Mapping[str, tuple[str, ...]] = {
    "prompt": ("prompt", "caption", "text"),
    "image": ("image", "image_url", "image_path", "url", "file"),
    "generation": ("generation_id", "generation", "request_id"),
    "checkpoint": ("checkpoint", "model", "model_version"),
    "comment": ("comment", "note", "reason"),
    "actor": ("actor", "user", "user_id", "rater"),
    "at": ("at", "timestamp", "created_at", "time"),
    "seed": ("seed",),
    "score": ("score", "rating", "thumb", "thumbs", "vote", "label"),
    "facets": ("facets", "facet", "issues", "issue"),
    "references": ("references", "reference"),
}
_GOOD = {"up", "yes", "true", "good", "like", "liked", "+1", "👍"}
_BAD = {"down", "no", "false", "bad", "dislike", "disliked", "-1", "👎"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """`named`: their column for a field of ours, where it is not called as usual. `scale`: the worst and the best score."""

    named: Mapping[str, str] = field(default_factory=dict)
    scale: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        """Raises UsageError for a field that is none, and a scale without length."""
        if unknown := self.named.keys() - _USUAL.keys():
            raise UsageError(f"{', '.join(sorted(unknown))}: no field of feedback; there are {', '.join(_USUAL)}")
        if self.scale[0] == self.scale[1]:
            raise UsageError("a scale goes from its worst to its best number, as 1:5")


def read(rows: Iterable[tuple[str, Mapping[str, Any]]], columns: Columns, source: str) -> Iterator[Feedback]:
    """One a row. Raises UsageError, naming the place, for a row that says nothing of a picture, or a value that is none."""
    for place, row in rows:
        found = {name: _value(row, name, columns, place) for name in _USUAL}
        texts: dict[str, Any] = {name: str(found[name]) for name in _TEXTS if found[name] is not None}
        said = Feedback(
            source=source,
            **texts,
            references=tuple(_listed(found["references"])),
            seed=None if found["seed"] is None else _whole(found["seed"], place),
            score=None if found["score"] is None else _score(found["score"], columns.scale, place),
            facets=_facets(found["facets"], place),
        )
        if not (said.prompt or said.generation):
            raise UsageError(f"{place}: neither a prompt nor a generation; name the column, as `--map prompt=COLUMN`")
        if said.score is None and not said.facets and not said.comment:
            raise UsageError(f"{place}: no score, facet or comment; name the column, as `--map score=COLUMN`")
        yield said


def _value(row: Mapping[str, Any], name: str, columns: Columns, place: str) -> Any:
    """None where the row has nothing to say."""
    if name in columns.named:
        column = columns.named[name]
        if column not in row:
            raise UsageError(f"{place}: no column {column!r}; there are {', '.join(map(str, row))}")
        found = row[column]
    else:
        found = next((row[usual] for usual in _USUAL[name] if usual in row), None)
    return None if found is None or found == "" else found


def _whole(value: Any, place: str) -> int:
    try:
        return int(value)
    except (TypeError, ValueError) as error:
        raise UsageError(f"{place}: a seed is a whole number, not {value!r}") from error


def _score(value: Any, scale: tuple[float, float], place: str) -> float:
    word = str(value).strip().lower()
    if word in _GOOD or word in _BAD:
        return float(word in _GOOD)
    worst, best = scale
    try:
        score = (float(word) - worst) / (best - worst)
    except ValueError as error:
        raise UsageError(f"{place}: {value!r} is neither good nor bad, nor a number") from error
    if not 0 <= score <= 1:
        raise UsageError(f"{place}: {value!r} is not on the scale {worst:g}:{best:g}; give another with `--scale`")
    return score


def _facets(value: Any, place: str) -> dict[Facet, float]:
    """Facets that are named are bad; an object says how good each is."""
    scores = dict(value) if isinstance(value, Mapping) else dict.fromkeys(_listed(value), 0.0)
    if unknown := [name for name in scores if name not in set(Facet)]:
        raise UsageError(f"{place}: {unknown[0]!r} is none of the facets {', '.join(Facet)}")
    return {Facet(name): float(score) for name, score in scores.items()}


def _listed(value: Any) -> list[str]:
    if value is None:
        return []
    parts = value if isinstance(value, list | tuple) else re.split(r"[;|,]", str(value))
    return [str(part).strip() for part in parts if str(part).strip()]
