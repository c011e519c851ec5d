"""Every sort of picture that the world has: a sort is one file and one line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from model.miniature import creature, diagram, emblem, grammar, page, render, scene, wording
from model.miniature.facts import Emblem
from model.miniature.lot import First
from model.miniature.subject import Subject


@dataclass(frozen=True, slots=True, kw_only=True)
class Sort:
    """How a sort is drawn by lot, pictured and told. `domain`: what the data engine should take such a picture for."""

    subject: type[Subject]
    domain: str
    sample: Callable[[np.random.Generator], Any]
    picture: Callable[[Any, int, int], Image.Image]  # subject, side in px, seed
    wording: Callable[[Any, np.random.Generator], str]
    plain: Callable[[Any], str]  # the one wording without a lot


SORTS: Mapping[str, Sort] = {
    "scene": Sort(
        subject=scene.Scene,
        domain="design",
        sample=grammar.sample,
        picture=lambda subject, side_px, seed: render.render(subject, side_px, seed).image,
        wording=wording.wording,
        plain=wording.plain,
    ),
    "page": Sort(
        subject=page.Page,
        domain="poster",
        sample=page.sample,
        picture=lambda subject, side_px, seed: page.render(subject, side_px, seed).image,
        wording=page.wording,
        plain=lambda subject: page.wording(subject, First()),
    ),
    "diagram": Sort(
        subject=diagram.Diagram,
        domain="diagram",
        sample=diagram.sample,
        picture=lambda subject, side_px, seed: diagram.render(subject, side_px, seed).image,
        wording=diagram.wording,
        plain=lambda subject: diagram.wording(subject, First()),
    ),
    "emblem": Sort(
        subject=Emblem,
        domain="design",
        sample=emblem.sample,
        picture=emblem.render,
        wording=emblem.wording,
        plain=lambda subject: emblem.wording(subject, First()),
    ),
    "creature": Sort(
        subject=creature.Creature,
        domain="design",
        sample=creature.sample,
        picture=creature.render,
        wording=creature.wording,
        plain=lambda subject: creature.wording(subject, First()),
    ),
}


def sort_of(subject: Subject) -> Sort:
    """Raises KeyError for a subject of no sort."""
    return _BY_SUBJECT[type(subject)]


_BY_SUBJECT = {sort.subject: sort for sort in SORTS.values()}
