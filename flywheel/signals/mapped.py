"""Feedback from any table: which column says what.

A thumb, a yes, a number on a scale: whatever says good or bad becomes 0 to 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from flywheel.errors import UsageError
from flywheel.facets import Facet
from flywheel.signals.columns import Columns, Usual, listed, whole
from flywheel.signals.feedback import Feedback

_TEXTS = ("prompt", "image", "generation", "checkpoint", "comment", "actor", "at")
_USUAL: Usual = {
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


def read(rows: Iterable[tuple[str, Mapping[str, Any]]], columns: Columns, source: str) -> Iterator[Feedback]:
    """One a row. Raises UsageError, naming the place, for a row that says nothing of a picture, or a value that is none."""
    for place, row in rows:
        found = columns.values(row, _USUAL, place)
        texts: dict[str, Any] = {name: str(found[name]) for name in _TEXTS if found[name] is not None}
        said = Feedback(
            source=source,
            **texts,
            references=tuple(listed(found["references"])),
            seed=whole(found["seed"], "a seed", place),
            score=None if found["score"] is None else _score(found["score"], columns.scale, place),
            facets=_facets(found["facets"], place),
        )
        if not (said.prompt or said.generation):
            raise UsageError(f"{place}: neither a prompt nor a generation; name the column, as `--map prompt=COLUMN`")
        if said.score is None and not said.facets and not said.comment:
            raise UsageError(f"{place}: no score, facet or comment; name the column, as `--map score=COLUMN`")
        yield said


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
    scores = dict(value) if isinstance(value, Mapping) else dict.fromkeys(listed(value), 0.0)
    if unknown := [name for name in scores if name not in set(Facet)]:
        raise UsageError(f"{place}: {unknown[0]!r} is none of the facets {', '.join(Facet)}")
    return {Facet(name): float(score) for name, score in scores.items()}
