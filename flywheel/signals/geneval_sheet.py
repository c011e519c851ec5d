"""GenEval's annotation sheets (Ghosh et al. 2023): what raters saw in a picture, held to what its caption asks for.

A rater counts each named object, tells its colours, and where the second object is to the first. Five rate each picture.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from flywheel.errors import UsageError
from flywheel.facets import Facet
from flywheel.signals.feedback import Feedback

SOURCE = "geneval annotations"
COLUMNS = frozenset({"Input.caption", "Input.image_url", "Answer.task-count-0", "Answer.task-quality"})
_NUMBERS = {"two": 2, "three": 3, "four": 4}
_COLOURS = ["red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white", "gray"]
_PLACED = {"left of": ("x", "left"), "right of": ("x", "right"), "above": ("y", "above"), "below": ("y", "below")}
_BEST_QUALITY = 4  # of the picture, whatever it shows: a rater who saw no tennis racket gives 4, too
Row = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Asked:
    """Of a caption: how many of the first object (None: at least one), each object's colour, and where the second stands."""

    count: int | None
    colours: tuple[str | None, str | None]
    placed: tuple[str, str] | None


def read(rows: Iterable[tuple[str, Row]]) -> Iterator[Feedback]:
    """A row a rater. Raises UsageError, naming the place, for a caption or an answer that is none of GenEval's."""
    seen: Counter[str] = Counter()
    for place, row in rows:
        image = row["Input.image_url"]
        seen[image] += 1
        try:
            facets = _facets(_asked(row), row)
            facets[Facet.AESTHETICS] = (float(row["Answer.task-quality"]) - 1) / (_BEST_QUALITY - 1)
        except (KeyError, ValueError) as error:
            raise UsageError(f"{place}: no row of a GenEval sheet: {error}") from error
        yield Feedback(
            source=SOURCE,
            prompt=row["Input.caption"],
            image=image,
            checkpoint=_model(image),
            facets=facets,
            comment=row.get("Answer.task-objects", ""),
            actor=f"rater {seen[image]} of {image}",  # sheets have no names: of one picture they are different people
        )


def _asked(row: Row) -> _Asked:
    caption = row["Input.caption"].removeprefix("a photo of ")
    first, second = row["Input.object_0_name"], row.get("Input.object_1_name", "")
    number = re.match(rf"({'|'.join(_NUMBERS)}) ", caption)
    placed = next((where for words, where in _PLACED.items() if second and f" {words} " in caption), None)
    return _Asked(
        count=_NUMBERS[number[1]] if number else None,
        colours=(_colour(caption, first), _colour(caption, second) if second else None),
        placed=placed,
    )


def _colour(caption: str, name: str) -> str | None:
    """The colour that stands before the object's name. What is called by a colour (an orange) is none."""
    found = re.search(rf"\b({'|'.join(_COLOURS)}) {re.escape(name)}\b", caption)
    return found[1] if found else None


def _facets(asked: _Asked, row: Row) -> dict[Facet, float]:
    counts = [int(float(row[f"Answer.task-count-{at}"])) for at in range(2) if row.get(f"Answer.task-count-{at}")]
    if not counts:
        raise ValueError("nobody counted the object")
    facets = {Facet.OBJECTS: float(all(counts))}
    if asked.count is not None:
        facets[Facet.COUNTS] = float(counts[0] == asked.count)
    if any(asked.colours):
        told = [row.get(f"Answer.task-color-{at}", "").split("|") for at in range(2)]
        facets[Facet.ATTRIBUTES] = float(
            all(colour in seen for colour, seen in zip(asked.colours, told, strict=True) if colour)
        )
    if asked.placed:
        axis, where = asked.placed
        facets[Facet.RELATIONS] = float(row.get(f"Answer.task-position-{axis}") == where)
    return facets


def _model(image: str) -> str:
    """The folder that the published pictures of a model lie in."""
    found = re.search(r"/images/([^/]+)/", image)
    return found[1] if found else ""
