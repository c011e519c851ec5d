"""The bundled image model draws what its card says, on prompts that training never had: nobody ships a worse one unseen."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model.bundled import bundled_model
from model.miniature import drawing_exam, levels
from model.sample import ImageModel
from model.vae_linear import LinearVAE
from pipelines.profiles import bundled_home

CARD = json.loads((bundled_home() / "card.json").read_text()).get("drawing")
ROLE, SEED, NUMBER = "report", 7, 128

pytestmark = pytest.mark.skipif(CARD is None, reason="no image model is bundled: python -m model.miniature.build")


@pytest.fixture(scope="module")
def model() -> ImageModel:
    return ImageModel.load_pretrained(bundled_model())


def least(suite: str, number: int) -> float:
    """What the card claims, less what so few examples may miss by chance: two and a half deviations."""
    claimed = float(CARD["figures"][suite]["exact"])
    return claimed - 2.5 * float(np.sqrt(max(claimed * (1 - claimed), 0.01) / number))


@pytest.mark.slow
@pytest.mark.parametrize("level", levels.LEVELS)
def test_a_level_is_drawn_as_the_card_says(model: ImageModel, level: str) -> None:
    marks = drawing_exam.drawn_right(drawing_exam.as_usual(model), level, NUMBER, ROLE, SEED)
    assert marks.exact >= least(level, NUMBER), marks


@pytest.mark.slow
@pytest.mark.parametrize("suite", ["scenes", "creatures"])
def test_edits_are_done_and_the_rest_is_kept_as_the_card_says(model: ImageModel, suite: str) -> None:
    pairs = drawing_exam.edit_suites(NUMBER, ROLE)[suite]
    marks = drawing_exam.edited_right(drawing_exam.as_usual(model), pairs, SEED)
    assert marks.exact >= least(f"edits of {suite}", NUMBER), marks


def test_a_short_instruction_is_followed_beside_a_long_one(model: ImageModel) -> None:
    """In a batch the target once stood behind the longest prompt: short instructions beside long ones were hardly followed."""
    pairs = drawing_exam.edit_suites(24, ROLE)["scenes"]
    short, long = (pick(pairs, key=lambda pair: len(pair.instruction)) for pick in (min, max))
    seen = [[pair.picture(0, drawing_exam.SIDE_PX, 0)] for pair in (short, long)]
    both = model.generate([short.instruction, long.instruction], [5, 6], model.sampling, seen)
    alone = model.generate([short.instruction], [5], model.sampling, seen[:1])
    assert np.abs(np.asarray(both[0], dtype=int) - np.asarray(alone[0], dtype=int)).max() <= 2


@pytest.mark.slow
def test_whoever_copies_the_source_has_edited_nothing() -> None:
    """The baseline beside the edits."""
    for pairs in drawing_exam.edit_suites(64, ROLE).values():
        marks = drawing_exam.edited_right(
            lambda prompts, seeds, references: [own[0] for own in references or ()], pairs, 0
        )
        assert marks.exact == 0
        assert marks.facets["kept"] == 1


@pytest.mark.slow
def test_the_autoencoder_gives_back_what_it_saw(model: ImageModel) -> None:
    assert isinstance(model.vae, LinearVAE)
    told = drawing_exam.reconstructed_right(model.vae, 96, ROLE)
    assert told["scenes, dB"] >= 34
    assert told["words alone, dB"] >= 31.5
    for checker in "AB":
        assert told[f"scenes, checker {checker}"] >= 0.98 - 0.02  # of so few
        assert (
            told[f"words alone, every sign by {checker}"] >= {"A": 0.90, "B": 0.95}[checker]
        )  # A holds each sign to all others


def test_a_picture_from_the_command_line_is_what_the_prompt_says(tmp_path: Path) -> None:
    prompt = levels.prompts("L1", 1, ROLE)[0]
    command = [sys.executable, "-m", "flywheel", "generate", prompt.text, "-o", str(tmp_path), "--json"]
    told = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    with Image.open(told["pictures"][0]["file"]) as picture:
        assert picture.size == (96, 96)
        assert drawing_exam.segmented.check(prompt.scene, picture).facets["background"]
