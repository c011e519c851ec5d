"""GenEval: objects, colours, counts and positions, judged by what a detector finds (Ghosh et al. 2023, arXiv 2310.11513).

A picture is right when every wanted class is found often enough, in its colour and place, and none of the excluded ones is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from flywheel.errors import UsageError
from flywheel.facets import Facet
from flywheel.rows import json_lines, need
from flywheel.suites.item import Box, Item, Scored, Seen, Suite, Wanted, mean_of_labels

_CONFIDENT, _CONFIDENT_TO_COUNT, _MOST = 0.3, 0.9, 16
_SLACK, _TURN = (
    0.1,
    0.5,
)  # how far centres must be apart, in both boxes' sides; how much of the way a direction must take
_POSITIONS = frozenset({"left of", "right of", "above", "below"})
_TAG = "tag"


def load(path: Path) -> list[Item]:
    found = []
    for number, (place, row) in enumerate(json_lines(path)):
        checks = {"include": need(row, "include", list, place), "exclude": row.get("exclude", [])}
        for wanted in (*checks["include"], *checks["exclude"]):
            _hold(wanted, len(checks["include"]), place)
        labels = {_TAG: need(row, _TAG, str, place)}
        prompt = need(row, "prompt", str, place)
        found.append(Item(suite="geneval", key=f"{number:05}", prompt=prompt, labels=labels, checks=checks))
    return found


def wanted(item: Item) -> Wanted:
    asked = [*item.checks["include"], *item.checks["exclude"]]
    classes = tuple(dict.fromkeys(one["class"] for one in asked))
    return Wanted(classes=classes, colours=any("color" in one for one in asked))


def scored(item: Item, seen: Seen) -> Scored:
    boxes = _confident(seen.boxes, _CONFIDENT_TO_COUNT if item.labels[_TAG] == "counting" else _CONFIDENT)
    facets: dict[Facet, bool] = {}
    why: list[str] = []

    def note(facet: Facet, holds: bool, what: str) -> bool:
        facets[facet] = facets.get(facet, True) and holds
        if not holds:
            why.append(what)
        return holds

    matched: list[Sequence[Box] | None] = []
    for one in item.checks["include"]:
        name, count, there = one["class"], one["count"], boxes.get(one["class"], [])
        facet = Facet.COUNTS if count > 1 else Facet.OBJECTS
        holds = note(facet, len(there) >= count, f"{len(there)} of {count} {name}")
        there = there[:count]
        if holds and "color" in one:
            right = sum(box.colour == one["color"] for box in there)
            holds = note(Facet.ATTRIBUTES, right >= count, f"{right} of {count} {name} {one['color']}")
        if holds and "position" in one:
            relation, group = one["position"]
            targets = matched[group]
            stands = targets is not None and all(relation in _where(box, target) for box in there for target in targets)
            holds = note(Facet.RELATIONS, stands, f"no {name} {relation} {item.checks['include'][group]['class']}")
        matched.append(there if holds else None)
    for one in item.checks["exclude"]:
        number = len(boxes.get(one["class"], []))
        note(Facet.COUNTS, number < one["count"], f"{number} {one['class']}, fewer than {one['count']} wanted")
    return Scored(
        score=float(all(facets.values())),
        facets={facet: float(holds) for facet, holds in facets.items()},
        why=tuple(why),
    )


def total(found: Sequence[tuple[Item, Scored]]) -> float:
    """Tasks count alike."""
    return mean_of_labels(found, _TAG)


SUITE = Suite(
    says="objects, colours, counts, positions, by a detector", load=load, wanted=wanted, scored=scored, total=total
)


def _hold(one: Any, groups: int, place: str) -> None:
    """Raises UsageError for a condition that the rule does not know."""
    if not isinstance(one, Mapping) or not isinstance(one.get("class"), str) or not isinstance(one.get("count"), int):
        raise UsageError(f"{place}: a condition names a class and a count, not {one!r}")
    if "position" in one:
        position = one["position"]
        if (
            not isinstance(position, list)
            or len(position) != 2
            or position[0] not in _POSITIONS
            or position[1] not in range(groups)
        ):
            raise UsageError(
                f"{place}: a position is one of {', '.join(sorted(_POSITIONS))} and whose, not {position!r}"
            )


def _confident(boxes: Mapping[str, Sequence[Box]], least: float) -> dict[str, list[Box]]:
    """The surest of each class, best first."""
    return {
        name: sorted((box for box in found if box.confidence > least), key=lambda box: -box.confidence)[:_MOST]
        for name, found in boxes.items()
    }


def _where(one: Box, other: Box) -> set[str]:
    """How the one stands to the other: centres apart by more than the slack, and mostly in that direction."""
    apart = [(_middle(one, axis) - _middle(other, axis)) for axis in (0, 1)]
    slack = [_SLACK * (_side(one, axis) + _side(other, axis)) for axis in (0, 1)]
    beyond = [max(abs(way) - free, 0.0) * (1 if way > 0 else -1) for way, free in zip(apart, slack, strict=True)]
    length = (apart[0] ** 2 + apart[1] ** 2) ** 0.5
    if all(abs(way) < 1e-3 for way in beyond):
        return set()
    across, down = (way / length for way in beyond)
    found = {"left of": across < -_TURN, "right of": across > _TURN, "above": down < -_TURN, "below": down > _TURN}
    return {name for name, holds in found.items() if holds}


def _middle(box: Box, axis: int) -> float:
    return (box.box[axis] + box.box[axis + 2]) / 2


def _side(box: Box, axis: int) -> float:
    return box.box[axis + 2] - box.box[axis]
