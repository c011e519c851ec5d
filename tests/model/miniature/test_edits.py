"""Edit pairs: the instruction asks for the very change, and for one alone."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.miniature import edits
from model.miniature.grammar import KINDS, sample
from model.miniature.mutation import mutated, mutations
from model.miniature.scene import Line, Scene, Thing

STAR = Thing(cell=0, shape="star", colour="red", size="big")
RING = Thing(cell=4, shape="ring", colour="blue", size="small")


@given(st.integers(0, 2**32), st.sampled_from([*KINDS]))
def test_every_change_can_be_asked_for(seed: int, kind: str) -> None:
    rng = np.random.default_rng(seed)
    scene = sample(rng, kind)
    for change in mutations(scene):
        after = mutated(scene, change, rng)
        if after != scene:
            assert edits.instruction(scene, after, rng)
    pair = edits.sample(scene, rng)
    assert pair.before == scene != pair.after


def test_an_instruction_means_one_edit_of_its_scene() -> None:
    rng = np.random.default_rng(1)
    changes: Counter[str] = Counter()
    for kind in KINDS:
        for _ in range(15):
            scene = sample(rng, kind)
            meant: dict[str, Scene] = {}
            for _ in range(60):
                pair = edits.sample(scene, rng)
                assert meant.setdefault(pair.instruction, pair.after) == pair.after, pair.instruction
                changes[pair.instruction.split()[0]] += 1
    assert {"Make", "Change", "Turn", "Move", "Remove", "Add", "Write", "Put"} <= changes.keys()


def test_what_looks_alike_is_told_by_its_place() -> None:
    twin = replace(STAR, cell=8)
    scene = Scene(background="white", things=(STAR, twin))
    after = replace(scene, things=(STAR, replace(twin, colour="green")))
    said = {edits.instruction(scene, after, np.random.default_rng(seed)) for seed in range(20)}
    assert said == {
        "Make the big red star at the bottom right green.",
        "Paint the big red star at the bottom right green.",
    }


@pytest.mark.parametrize(
    "after",
    [
        Scene(background="white", things=(STAR, RING)),
        Scene(background="black", things=(replace(STAR, colour="green"), RING)),
        Scene(background="white", things=(replace(STAR, colour="green"), replace(RING, colour="green"))),
        Scene(background="white", things=(replace(STAR, colour="green", size="small"), RING)),
    ],
)
def test_more_than_one_change_is_refused(after: Scene) -> None:
    with pytest.raises(ValueError, match="one thing"):
        edits.instruction(Scene(background="white", things=(STAR, RING)), after, np.random.default_rng(0))


def test_a_word_that_looks_like_an_order_is_quoted() -> None:
    line = Line(row="top", text="GO", script="latin", colour="blue")
    scene = Scene(background="white", lines=(line,))
    after = replace(scene, lines=(replace(line, text="NO"),))
    assert edits.instruction(scene, after, np.random.default_rng(0)) in (
        'Write "NO" instead of "GO".',
        'Change "GO" to "NO".',
    )
