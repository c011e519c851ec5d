"""From any wording the scene is told again."""

from __future__ import annotations

import numpy as np
import pytest

from model.miniature import grammar, levels
from model.miniature.rewriting import read, richer
from model.miniature.vocabulary import SCRIPTS
from model.miniature.wording import plain


@pytest.mark.parametrize("level", list(levels.LEVELS))
def test_what_is_asked_is_read(level: str) -> None:
    asked = levels.prompts(level, 120, "train")
    wrong = [(one.text, one.scene, read(one.text)) for one in asked if read(one.text) != one.scene]
    assert len(wrong) <= 0.02 * len(asked), wrong[:3]


def test_what_is_said_in_full_stays() -> None:
    lot = np.random.default_rng(0)
    for _ in range(200):
        scene = grammar.sample(lot, str(lot.choice(["one", "pair", "word and two", "two words"])), scripts=SCRIPTS)
        assert richer(plain(scene)) == plain(scene)


def test_what_was_left_open_is_settled() -> None:
    assert richer("a red star") == "A big red star in the center, on a white background."
    assert richer('the word "HI" and a tiny blue ring') is not None
    assert richer("a photograph of a cat") is None
