"""Features of the prompt: the release's pipeline's, from before the last norm, text alone, nothing cut off."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor
from transformers import AutoProcessor, Qwen3VLForConditionalGeneration

from flywheel.errors import FlywheelError
from model.bundled import bundled_condition
from model.condition import ConditionEncoder
from model.layout import Image as Grid

FOLDER, PROCESSOR = bundled_condition()
PROMPTS = ["a big red star", "two small circles, one blue at the left and one green at the right", ""]


@pytest.fixture(scope="module")
def encoder() -> ConditionEncoder:
    return ConditionEncoder(FOLDER, PROCESSOR)


def apart(ours: Tensor, theirs: Tensor) -> float:
    return ((ours - theirs).abs().max() / theirs.abs().max()).item()


@pytest.fixture(scope="module")
def pipeline() -> object:
    """diffusers' own reading of prompts."""
    diffusers = pytest.importorskip("diffusers", reason="the oracle is a test extra")
    model = Qwen3VLForConditionalGeneration.from_pretrained(FOLDER, dtype=torch.float32).eval()
    return diffusers.QwenImage21Pipeline(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(),
        vae=None,
        text_encoder=model,
        processor=AutoProcessor.from_pretrained(PROCESSOR),
        transformer=None,
    )


def test_text_is_read_as_the_releases_pipeline_reads_it(encoder: ConditionEncoder, pipeline: object) -> None:
    embeds, mask, slots = pipeline._get_qwen_prompt_embeds(PROMPTS, None, torch.device("cpu"))  # type: ignore[attr-defined]
    assert not slots.any()
    for at, told in enumerate(encoder.encode(PROMPTS)):
        wanted = embeds[at][mask[at].bool()]
        assert told.features_SE.shape == wanted.shape
        assert told.runs == (len(wanted),)
        assert apart(told.features_SE, wanted) <= 1e-5


@pytest.mark.parametrize("references", [1, 3])
def test_references_are_read_in_place(encoder: ConditionEncoder, pipeline: object, references: int) -> None:
    pictures = [Image.new("RGB", (96, 96), color) for color in ("red", "white", "blue")[:references]]
    embeds, _, slots = pipeline._get_qwen_prompt_embeds(PROMPTS[:1], pictures, torch.device("cpu"))  # type: ignore[attr-defined]
    (told,) = encoder.encode(PROMPTS[:1], [pictures])
    wanted = embeds[0][~slots[0]]
    assert apart(told.features_SE, wanted) <= 1e-5
    assert len(told.runs) == references + 1
    assert sum(told.runs) == len(wanted)
    layout = told.layout([Grid(6, 6)] * references, Grid(6, 6))
    assert len(layout.text_places) == len(wanted)
    assert layout.prefix == len(wanted) + 36 * references


def test_features_are_not_the_normalised_ones_that_transformers_hands_out(encoder: ConditionEncoder) -> None:
    """If this fails because both agree, transformers has changed what it returns; the features must not."""
    (told,) = encoder.encode(PROMPTS[:1])
    model, processor = encoder._model, encoder._processor
    system = "<|im_start|>system\nComprehend and analyze the provided prompt.<|im_end|>\n"
    text = f"{system}<|im_start|>user\na big red star<|im_end|>\n<|im_start|>assistant\n"
    inputs = processor(text=[text], return_tensors="pt")
    with torch.no_grad():
        handed = model(**inputs, output_hidden_states=True).hidden_states[-1][0][-len(told.features_SE) :]
    assert apart(told.features_SE, handed) > 0.1
    assert apart(model.model.language_model.norm(told.features_SE), handed) <= 1e-5


def test_alpha_is_seen_over_white(encoder: ConditionEncoder) -> None:
    clear = Image.new("RGBA", (96, 96), (255, 0, 0, 0))
    (seen,) = encoder.encode(["this"], [[clear]])
    (white,) = encoder.encode(["this"], [[Image.new("RGB", (96, 96), "white")]])
    (red,) = encoder.encode(["this"], [[Image.new("RGB", (96, 96), "red")]])
    assert torch.equal(seen.features_SE, white.features_SE)
    assert not torch.equal(seen.features_SE, red.features_SE)


def test_each_prompt_sees_its_own_references(encoder: ConditionEncoder) -> None:
    red, blue = (Image.new("RGB", (96, 96), colour) for colour in ("red", "blue"))
    both = encoder.encode(["paint it", "and it, the other way"], [[red], [blue, red]])
    for told, prompt, seen in zip(both, ("paint it", "and it, the other way"), ([red], [blue, red]), strict=True):
        (alone,) = encoder.encode([prompt], [seen])
        assert told.runs == alone.runs
        assert apart(told.features_SE, alone.features_SE) <= 1e-4


def test_long_prompts_are_whole_and_neighbours_change_nothing(encoder: ConditionEncoder) -> None:
    long = " ".join(["a big red star and a small blue ring"] * 150)
    told, short = encoder.encode([long, "a ring"])
    assert len(told.features_SE) > 1000
    assert apart(short.features_SE, encoder.encode(["a ring"])[0].features_SE) <= 1e-4
    changed = encoder.encode([long + " below"])[0].features_SE
    assert len(changed) > len(told.features_SE)


def test_refusals(encoder: ConditionEncoder, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at most 10 references, not 11"):
        encoder.encode(["this"], [[Image.new("RGB", (96, 96))] * 11])
    with pytest.raises(FlywheelError, match="holds no Qwen3-VL"):
        ConditionEncoder(tmp_path)
