"""The four captions of a picture of the world, as a captioner is taught to write them: compact JSON of fixed shapes.

Only what pixels show is told, but for `knowledge`, which tells what the captioner was given besides. The shapes are those
that `captioners` asks any model for: a test holds the two together.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import singledispatch
from typing import Any

from model.miniature.creature import Creature
from model.miniature.diagram import Diagram
from model.miniature.emblem import emblem_facts_told
from model.miniature.facts import Emblem
from model.miniature.page import Page
from model.miniature.scene import Line, Scene, Thing
from model.miniature.sorts import sort_of
from model.miniature.subject import Subject
from model.miniature.vocabulary import CELLS
from model.miniature.wording import singly

KINDS = ("general", "text", "knowledge", "structured")
Facts = Mapping[str, str | int]


def captions(subject: Subject, facts: Facts | None = None) -> dict[str, str]:
    """The captions that a subject has, by kind: `text` where something is written, `knowledge` where facts are given."""
    said = singly(subject) if isinstance(subject, Scene) else sort_of(subject).plain(subject)
    told = {"general": {"caption": said}, "structured": structured(subject)}
    written = _text(subject)
    if written is not None:
        told["text"] = written
    if facts and isinstance(subject, Emblem):
        told["knowledge"] = {"caption": emblem_facts_told(subject, facts), "facts": list(facts)}
    return {kind: compact(told[kind]) for kind in KINDS if kind in told}


def compact(value: Any) -> str:
    """As a grammar without white space makes a captioner write."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


@singledispatch
def _text(subject: Subject) -> dict[str, Any] | None:
    """What is written, in reading order, and how it is laid out; None where nothing is."""
    return None


@_text.register
def _(subject: Scene) -> dict[str, Any] | None:
    if not subject.lines:
        return None
    layout = "vertical" if any(line.is_vertical for line in subject.lines) else "line"
    return {"layout": layout, "lines": [line.text for line in subject.lines]}


@_text.register
def _(subject: Page) -> dict[str, Any]:
    return {"layout": subject.layout, "lines": list(subject.transcript)}


@singledispatch
def structured(subject: Subject) -> dict[str, Any]:
    """What is to be seen, where, and how it hangs together."""
    raise TypeError(f"nothing is known of the structure of a {type(subject).__name__}")


@structured.register
def _(subject: Scene) -> dict[str, Any]:
    things = [_thing(thing) for thing in subject.things]
    relations = [
        {"subject": relation.subject, "relation": relation.relation, "object": relation.other}
        for relation in subject.relations
        if relation.relation in ("left of", "above")  # the other two say the same from the other side
    ]
    return _whole(subject.background, [*things, *map(_line, subject.lines)], relations)


@structured.register
def _(subject: Page) -> dict[str, Any]:
    look = "picture" if subject.shape is not None else "band"
    entities = [{"name": subject.shape or look, "attributes": [subject.colour], "place": "top"}]
    entities += [
        {"name": "title" if at == 0 else "line", "attributes": [], "place": _where(subject, at), "text": text}
        for at, text in enumerate(subject.transcript)
    ]
    return _whole("white", entities, [])


@structured.register
def _(subject: Diagram) -> dict[str, Any]:
    entities = [
        {"name": node.name, "attributes": [node.colour, node.shape], "place": CELLS[node.cell]}
        for node in subject.nodes
    ]
    place = {node.name: at for at, node in enumerate(subject.nodes)}
    relations = [
        {"subject": place[edge.source], "relation": "points to", "object": place[edge.target], "label": edge.label}
        for edge in subject.edges
    ]
    return _whole("white", entities, relations)


@structured.register
def _(subject: Emblem) -> dict[str, Any]:
    parts = (("rim", subject.rim), ("emblem", subject.field), (subject.charge, subject.ink))
    entities = [{"name": name, "attributes": [colour], "place": "middle center"} for name, colour in parts]
    return _whole("white", entities, [])


@structured.register
def _(subject: Creature) -> dict[str, Any]:
    who = subject.identity
    parts = [
        (who.kind, [who.colour, who.pattern]),
        ("head", [who.head]),
        ("eyes", [who.eyes, who.set]),
        ("mouth", [who.mouth]),
    ]
    if subject.accessory_colour is not None:
        parts.append((subject.accessory, [subject.accessory_colour]))
    entities = [{"name": name, "attributes": looks, "place": "middle center"} for name, looks in parts]
    return _whole("white", entities, [])


def _whole(background: str, entities: list[dict[str, Any]], relations: list[dict[str, Any]]) -> dict[str, Any]:
    return {"background": background, "entities": entities, "relations": relations}


def _thing(thing: Thing) -> dict[str, Any]:
    return {"name": thing.shape, "attributes": [thing.size, thing.colour], "place": CELLS[thing.cell]}


def _line(line: Line) -> dict[str, Any]:
    place = "middle" if line.is_vertical else line.row
    return {"name": "text", "attributes": [line.colour], "place": place, "text": line.text}


def _where(page: Page, at: int) -> str:
    """Titles stand at the top of a slide and in the middle of a poster; lines are told column by column."""
    if at == 0:
        return "middle" if page.layout == "poster" else "top"
    if page.layout != "two-column slide":
        return "bottom" if page.layout == "poster" else "middle"
    first = at <= (len(page.lines) + 1) // 2
    return "left" if first == (page.script != "hebrew") else "right"


def texts(subject: Subject) -> Iterator[str]:
    """Every piece of writing in a subject."""
    written = _text(subject)
    yield from written["lines"] if written else ()
