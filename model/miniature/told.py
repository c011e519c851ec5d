"""A scene held to what a captioner says it sees: a second opinion on a picture, by nobody who built a checker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from model.miniature.captions import structured
from model.miniature.scene import Scene
from model.miniature.verdict import Verdict
from model.miniature.vocabulary import SIZES

_TEXT = "text"


def told(scene: Scene, seen: Mapping[str, Any]) -> Verdict:
    """`seen`: a structured caption. Raises KeyError or TypeError for one of another shape."""
    wanted = structured(scene)
    things, lines = _parted(wanted["entities"])
    seen_things, seen_lines = _parted(seen["entities"])
    facets = {
        "background": seen["background"] == wanted["background"],
        "places": sorted(one["place"] for one in seen_things) == sorted(one["place"] for one in things),
    }
    if things:
        facets |= {
            "shapes": _by_place(seen_things, _shape) == _by_place(things, _shape),
            "sizes": _by_place(seen_things, _size) == _by_place(things, _size),
            "colours": _by_place(seen_things, _colours) == _by_place(things, _colours),
        }
    if lines:
        facets["words"] = [one.get(_TEXT) for one in seen_lines] == [one[_TEXT] for one in lines]
        facets["word colour"] = [_colours(one) for one in seen_lines] == [_colours(one) for one in lines]
    return Verdict(facets)


def _parted(entities: Sequence[Mapping[str, Any]]) -> tuple[list[Mapping[str, Any]], list[Mapping[str, Any]]]:
    """Things, and lines of text."""
    things = [one for one in entities if one["name"] != _TEXT]
    return things, [one for one in entities if one["name"] == _TEXT]


def _by_place(things: Sequence[Mapping[str, Any]], what: Any) -> list[tuple[str, Any]]:
    return sorted((one["place"], what(one)) for one in things)


def _shape(thing: Mapping[str, Any]) -> str:
    return str(thing["name"])


def _size(thing: Mapping[str, Any]) -> list[str]:
    return [look for look in thing["attributes"] if look in SIZES]


def _colours(one: Mapping[str, Any]) -> list[str]:
    return [look for look in one["attributes"] if look not in SIZES]
