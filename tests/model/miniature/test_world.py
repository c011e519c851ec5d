"""The world: equal scenes are equal, pictures follow from scene, side and seed, and words say all of a scene."""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from model.miniature.canvas import MAX_SIDE_PX, MIN_SIDE_PX
from model.miniature.grammar import KINDS, alphabet, distinct_scenes, sample
from model.miniature.lettering import typeset
from model.miniature.outlines import outline
from model.miniature.phrasing import phrased
from model.miniature.render import render
from model.miniature.roles import SHARES, role_of
from model.miniature.scene import Line, Scene, Thing
from model.miniature.subject import SubjectError
from model.miniature.vocabulary import BACKGROUNDS, COLOURS, INVERSE, RIGHT_TO_LEFT, SCRIPTS, SHAPES, WORDS
from model.miniature.wording import wording

RED_STAR = Thing(cell=0, shape="star", colour="red", size="big")
BLUE_RING = Thing(cell=4, shape="ring", colour="blue", size="small")
SUN = Line(row="bottom", text="SUN", script="latin", colour="green")


def scenes() -> st.SearchStrategy[Scene]:
    return st.builds(
        lambda seed, kind: sample(np.random.default_rng(seed), kind), st.integers(0, 2**32), st.sampled_from([*KINDS])
    )


@given(scenes())
def test_a_scene_survives_its_json_and_the_order_of_its_parts(scene: Scene) -> None:
    assert Scene.from_json(scene.to_json()) == scene
    turned = Scene(background=scene.background, things=scene.things[::-1], lines=scene.lines)
    assert turned == scene
    assert turned.subject_id == scene.subject_id


@given(scenes())
def test_every_relation_is_told_from_both_sides(scene: Scene) -> None:
    told = {(one.subject, one.relation, one.other) for one in scene.relations}
    assert told == {(other, INVERSE[name], subject) for subject, name, other in told}


def test_kinds_hold_what_they_promise() -> None:
    rng = np.random.default_rng(3)
    for name, kind in KINDS.items():
        for _ in range(50):
            scene = sample(rng, name)
            assert len(scene.things) == kind.things
            assert len(scene.lines) == kind.lines
            assert not kind.alike or len(scene.counts()) == 1
            assert not kind.beside or scene.relations


def test_held_out_things_never_appear_and_there_are_scenes_enough() -> None:
    rng = np.random.default_rng(4)
    held_out = {("red", "star"), *((colour, "cross") for colour in COLOURS)}
    seen = {(t.colour, t.shape) for _ in range(2000) for t in sample(rng, held_out=held_out).things}
    assert not seen & held_out
    assert len(seen) == len(COLOURS) * len(SHAPES) - len(held_out)
    assert sum(map(distinct_scenes, range(1, 4))) > 1e6


def test_scenes_by_lot_hardly_ever_repeat() -> None:
    rng = np.random.default_rng(5)
    ids = Counter(sample(rng, "three").subject_id for _ in range(3000))
    assert len(ids) > 2990


@pytest.mark.parametrize(
    "broken",
    [
        {"things": (RED_STAR, RED_STAR)},
        {"things": (Thing(cell=9, shape="star", colour="red", size="big"),)},
        {"things": (Thing(cell=0, shape="hexagon", colour="red", size="big"),)},
        {"things": (Thing(cell=6, shape="star", colour="red", size="big"),), "lines": (SUN,)},
        {"lines": (Line(row="top", text="山水", script="han vertical", colour="red"),)},
        {"lines": (SUN, Line(row="bottom", text="SKY", script="latin", colour="red"))},
        {"lines": (SUN, Line(row="middle", text="山水", script="han vertical", colour="red"))},
        {
            "lines": tuple(
                Line(row=row, text="SKY", script="latin", colour="red") for row in ("top", "middle", "bottom")
            )
        },
        {"lines": (Line(row="top", text=" ", script="latin", colour="red"),)},
        {},
    ],
)
def test_what_the_world_does_not_have_is_refused(broken: dict[str, tuple[Thing | Line, ...]]) -> None:
    with pytest.raises(SubjectError):
        Scene(background="white", **broken)  # type: ignore[arg-type]


@given(scenes(), st.sampled_from([64, 96, 160]), st.integers(0, 9))
def test_same_scene_side_and_seed_same_picture(scene: Scene, side: int, seed: int) -> None:
    one, again, other = render(scene, side, seed), render(scene, side, seed), render(scene, side, seed + 1)
    assert one.image.size == (side, side)
    assert one.image.tobytes() == again.image.tobytes()
    assert one.image.tobytes() != other.image.tobytes()
    assert len(one.things) == len(scene.things)
    assert len(one.lines) == len(scene.lines)


@given(scenes())
def test_what_is_drawn_lies_in_its_boxes_and_the_rest_is_ground(scene: Scene) -> None:
    side = 192
    rendered = render(scene, side)
    pixels = np.asarray(rendered.image).astype(int)
    ground = np.median(pixels.reshape(-1, 3), axis=0)
    ink = np.abs(pixels - ground).max(axis=2) > 24
    for x0, y0, x1, y1 in (*rendered.things, *rendered.lines):
        assert 0 <= x0 < x1 <= 1
        assert 0 <= y0 < y1 <= 1
        rows = slice(int(y0 * side) - 1 if y0 > 1 / side else 0, int(y1 * side) + 2)
        columns = slice(int(x0 * side) - 1 if x0 > 1 / side else 0, int(x1 * side) + 2)
        assert ink[rows, columns].mean() > 0.1
        ink[rows, columns] = False
    assert not ink.any()


def test_things_have_their_colour_where_they_are() -> None:
    rng = np.random.default_rng(6)
    for _ in range(100):
        scene = sample(rng, "two")
        rendered = render(scene, 128)
        for thing, (x0, y0, x1, y1) in zip(scene.things, rendered.things, strict=True):
            if thing.shape == "ring":
                continue
            at = rendered.image.getpixel((int((x0 + x1) * 64), int((y0 + y1) * 64)))
            assert isinstance(at, tuple)
            assert max(abs(a - b) for a, b in zip(at, COLOURS[thing.colour], strict=True)) <= 9


@pytest.mark.parametrize("side", [MIN_SIDE_PX, 700, MAX_SIDE_PX])
def test_the_same_picture_at_any_side(side: int) -> None:
    scene = Scene(background="gray", things=(RED_STAR, BLUE_RING), lines=(SUN,))
    boxes = render(scene, side).things + render(scene, side).lines
    for box, other in zip(boxes, render(scene, 256).things + render(scene, 256).lines, strict=True):
        assert box == pytest.approx(other, abs=0.03)


def test_no_two_shapes_are_alike() -> None:
    def mask(shape: str) -> np.ndarray:
        scene = Scene(background="white", things=(Thing(cell=4, shape=shape, colour="blue", size="big"),))
        return np.asarray(render(scene, 128).image)[..., 0] < 140

    masks = {shape: mask(shape) for shape in SHAPES}
    for one in SHAPES:
        for other in SHAPES:
            shared = (masks[one] & masks[other]).sum() / (masks[one] | masks[other]).sum()
            assert (shared > 0.99) == (one == other), f"{one} and {other}"
    assert all(np.abs(points).max() <= 1.2 for shape in SHAPES for points in outline(shape))


def test_every_sign_of_the_vocabulary_is_in_its_font() -> None:
    """A sign that the font lacks is drawn as a box: every word would then look like any other of its length."""
    for script in SCRIPTS:
        drawn = defaultdict(list)
        for text in WORDS[script]:
            row = "middle" if script == "han vertical" else "top"
            line = Line(row=row, text=text, script=script, colour="blue")
            scene = Scene(background="white", lines=(line,))
            image = render(scene, 256).image.convert("L").point(lambda level: 255 * (level > 170))
            drawn[image.tobytes()].append(text)
        assert all(len(texts) == 1 for texts in drawn.values()), script


@pytest.mark.parametrize("script", SCRIPTS)
def test_where_a_sign_stands_depends_on_its_number_alone(script: str) -> None:
    """What is written moves no sign, nor do those behind it, and none reaches into the next one's slot."""
    signs, first = alphabet(script), dict[int, tuple[float, float]]()
    draw = ImageDraw.Draw(Image.new("L", (960, 960)))
    for at in range(60):
        text = "".join(signs[(at * 7 + place * (at + 3)) % len(signs)] for place in range(2 + at % 4))
        line = Line(row="middle", text=text, script=script, colour="blue")
        lettering, placed = typeset(line, 960)
        if len(text) < 5:  # longer ones may have narrower slots
            assert all(middle == first.setdefault(number, middle) for number, (_, middle) in enumerate(placed))
        in_order = reversed(placed) if script in RIGHT_TO_LEFT else placed
        for (sign, middle), (other, beside) in pairwise(in_order):
            ends = lettering.box(draw, sign, middle)[2 + line.is_vertical]
            assert ends <= lettering.box(draw, other, beside)[line.is_vertical] + 1, (sign, other)


@pytest.mark.parametrize("sign", ["W", "I"])
def test_a_sign_is_drawn_within_the_box_that_is_told_of_it(sign: str) -> None:
    """One that is narrowed to its slot, and one that is not."""
    line = Line(row="middle", text=sign, script="latin", colour="blue")
    lettering, [(_, at)] = typeset(line, 960)
    picture = Image.new("L", (960, 960))
    lettering.write(ImageDraw.Draw(picture), sign, at, 255)
    told, drawn = lettering.box(ImageDraw.Draw(picture), sign, at), picture.getbbox()
    assert drawn is not None
    assert all(told[edge] <= drawn[edge] + 1 and drawn[edge + 2] <= told[edge + 2] + 1 for edge in (0, 1))
    assert drawn[1] == pytest.approx(told[1], abs=1)


def test_right_to_left_writing_begins_at_the_right() -> None:
    line = Line(row="middle", text="שלום", script="hebrew", colour="blue")
    pixels = np.asarray(render(Scene(background="white", lines=(line,)), 256).image)[..., 0] < 140
    columns = np.flatnonzero(pixels.any(axis=0))
    ends = [int(at) for at, after in pairwise(columns) if after - at > 1]
    last = pixels[:, ends[-1] + 1 :]
    first = pixels[:, : ends[0] + 1]
    # Shin has three arms, final mem is a closed box: a row through the upper part meets three strokes, or two.
    assert _strokes(last) == 3
    assert _strokes(first) == 2


def _strokes(letter: np.ndarray) -> int:
    rows = np.flatnonzero(letter.any(axis=1))
    row = letter[rows[0] + (rows[-1] - rows[0]) // 3]
    return int((np.diff(np.concatenate([[0], row.astype(int)])) == 1).sum())


def test_words_say_all_of_a_scene() -> None:
    """No wording belongs to two scenes, however they are put; and a scene has many."""
    rng = np.random.default_rng(7)
    meant: dict[str, str] = {}
    for _ in range(6000):
        scene = sample(rng)
        for tell in (wording, wording, phrased, phrased):
            said = tell(scene, rng)
            assert meant.setdefault(said.casefold(), scene.subject_id) == scene.subject_id, said
            assert scene.background in said.casefold()
            assert all(f"{t.colour} {t.shape}" in said.casefold() for t in scene.things)
            assert all(f'"{line.text}"' in said for line in scene.lines)
    scene = Scene(background="white", things=(RED_STAR, BLUE_RING), lines=(SUN,))
    assert len({wording(scene, rng) for _ in range(500)}) > 100
    assert len({phrased(scene, rng) for _ in range(500)}) > 400


def test_every_prompt_has_one_role_and_shares_hold() -> None:
    rng = np.random.default_rng(8)
    prompts = {(scene.subject_id, wording(scene, rng)) for scene in (sample(rng) for _ in range(4000))}
    roles = Counter(role_of(*prompt) for prompt in prompts)
    assert roles == Counter(role_of(*prompt) for prompt in prompts)
    for role, share in SHARES.items():
        assert roles[role] / len(prompts) == pytest.approx(share / sum(SHARES.values()), abs=0.02)
    assert set(BACKGROUNDS) == {"white", "gray", "black"}
