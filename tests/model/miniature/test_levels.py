"""Suites and the training set of the generator: what one has, the other must never show."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from model.miniature import creature, drawing_exam, edits, levels
from model.miniature.build.offer import Drawn, DrawnEdit, offer
from model.miniature.creature import CHOICES, Creature
from model.miniature.roles import role_of
from model.miniature.scene import Scene

PAIRS = set(levels.NEVER_PAIRED)


def looks(scene: Scene) -> set[tuple[str, str]]:
    return {(thing.colour, thing.shape) for thing in scene.things}


@pytest.mark.parametrize("level", levels.LEVELS)
def test_a_suite_is_frozen_of_its_role_and_of_its_level(level: str) -> None:
    asked = levels.prompts(level, 40, "report")
    assert [one.text for one in asked[:15]] == [one.text for one in levels.prompts(level, 15, "report")]
    assert len({one.text for one in asked}) == 40
    for one in asked:
        assert role_of(one.scene.subject_id, one.text) == "report"
        assert bool(looks(one.scene) & PAIRS) == (level == "never paired")
        if level == "L4":
            assert all(levels.is_unseen(line.text) for line in one.scene.lines)
    assert not {one.text for one in asked} & {one.text for one in levels.prompts(level, 40, "gate")}


def test_nothing_that_is_kept_back_is_offered() -> None:
    found = offer(250, 60, 3)
    assert len({example.key for example in found.examples}) == 310
    scenes = [example.image.subject for example in found.examples if isinstance(example.image, Drawn)]
    scenes += [
        one for example in found.examples if isinstance(example.image, DrawnEdit) for one in (example.image.pair.after,)
    ]
    shown = [scene for scene in scenes if isinstance(scene, Scene)]
    assert len(shown) > 200
    for scene in shown:
        assert not looks(scene) & PAIRS
        assert not any(line.script == "latin" and levels.is_unseen(line.text) for line in scene.lines)
    for example in found.examples:
        if isinstance(example.image, Drawn) and isinstance(example.image.subject, Scene):
            assert role_of(example.image.subject.subject_id, example.caption) == "train"
    faces = [scene for scene in scenes if isinstance(scene, Creature)]
    assert faces
    assert all(role_of(Creature(identity=face.identity).subject_id, "") == "train" for face in faces)


def test_what_is_offered_is_drawn_when_it_is_read_and_always_the_same() -> None:
    one, again = offer(3, 3, 5), offer(3, 3, 5)
    for first, second in zip(one.examples, again.examples, strict=True):
        assert (first.key, first.caption) == (second.key, second.caption)
        assert first.image.read(1 << 20) == second.image.read(1 << 20)
        assert Image.open(io.BytesIO(first.image.read(1 << 20))).size == (96, 96)
    assert [len(example.references) for example in one.examples] == [0, 0, 0, 1, 1, 1]
    assert (
        offer(3, 0, 6).examples[0].caption != one.examples[0].caption
        or offer(3, 0, 6).examples[1].caption != one.examples[1].caption
    )


@pytest.mark.parametrize("suite", ["scenes", "creatures"])
def test_an_edit_leaves_alone_what_it_does_not_name(suite: str) -> None:
    for at, pair in enumerate(drawing_exam.edit_suites(25, "gate")[suite]):
        before, after = (np.asarray(picture, int) for picture in pair.pictures(96, at))
        changed = np.abs(before - after).max(axis=2) > 0
        assert changed.any()
        if (
            isinstance(pair.before, Scene)
            and isinstance(pair.after, Scene)
            and pair.before.background == pair.after.background
        ):
            cells = {thing.cell for thing in set(pair.before.things) ^ set(pair.after.things)}
            for thing in set(pair.before.things) & set(pair.after.things):
                if thing.cell not in cells and not pair.before.lines:
                    y, x = (thing.cell // 3) * 32, (thing.cell % 3) * 32
                    assert not changed[y + 6 : y + 26, x + 6 : x + 26].any(), pair.instruction
        for verdict in (drawing_exam.edit_verdict(pair, *_images(before, after, after)),):
            assert verdict == {"done": True, "kept": True}, pair.instruction
        assert drawing_exam.edit_verdict(pair, *_images(before, after, before))["done"] is False


def test_an_edit_that_spoils_the_rest_does_not_count() -> None:
    """Other eyes, another head: who was asked to put on a hat is somebody else."""
    spoiled = 0
    for at, pair in enumerate(drawing_exam.edit_suites(30, "gate")["creatures"]):
        assert isinstance(pair.after, Creature)
        who, field = pair.after.identity, ("head", "colour", "pattern", "kind")[at % 4]
        other = next(choice for choice in CHOICES[field] if choice != getattr(who, field))
        somebody = replace(pair.after, identity=replace(who, **{field: other}))
        before, after = pair.pictures(96, at)
        made = creature.render(somebody, 96, at, pair.before.subject_id)
        spoiled += not all(drawing_exam.edit_verdict(pair, before, after, made).values())
    assert spoiled >= 28


def test_every_instruction_to_dress_names_what_is_put_on() -> None:
    lot = np.random.default_rng(0)
    for _ in range(20):
        pair = edits.dressing(creature.sample(lot).identity, lot)
        assert isinstance(pair.after, Creature)
        assert pair.after.accessory in pair.instruction
        assert str(pair.after.accessory_colour) in pair.instruction
        assert pair.before == Creature(identity=pair.after.identity)


def _images(*pixels: np.ndarray) -> list[Image.Image]:
    return [Image.fromarray(one.astype(np.uint8)) for one in pixels]
