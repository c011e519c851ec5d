"""Pictures: diffusers' pipeline, loaded from our folder, makes the same; a picture depends on its own seed alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from small_run import SMALL

from flywheel.errors import FlywheelError
from model.bundled import bundled_condition
from model.condition import ConditionEncoder
from model.mmdit import MMDiT, MMDiTConfig
from model.sample import ImageModel, Sampling
from model.vae import VAE, release_config

PROMPTS = ["a big red star", "two small circles, one of them blue"]
SIZE = Sampling(width_px=96, height_px=64, steps=4)


def model(**changed: Any) -> ImageModel:
    torch.manual_seed(0)
    statistics = {
        "latents_mean": tuple(np.linspace(-1, 1, 8).tolist()),
        "latents_std": tuple(np.linspace(2, 3, 8).tolist()),
    }
    vae = VAE(release_config(base_dim=8, decoder_base_dim=8, z_dim=8, **statistics))
    config = MMDiTConfig(**SMALL | {"in_channels": 8, "out_channels": 8, "context_in_dim": 128} | changed)
    network = MMDiT(config)
    for weight in network.parameters():
        torch.nn.init.normal_(weight, std=0.1)
    condition = ConditionEncoder(*bundled_condition())
    return ImageModel(condition=condition, network=network.eval(), vae=vae.eval())


def levels(pictures: list[Image.Image]) -> np.ndarray:
    return np.stack([np.asarray(picture, dtype=int) for picture in pictures])


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> tuple[ImageModel, Path]:
    folder = tmp_path_factory.mktemp("model")
    made = model()
    made.save_pretrained(folder)
    return made, folder


@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_diffusers_pipeline_makes_our_picture(ours: tuple[ImageModel, Path], guidance: float) -> None:
    diffusers = pytest.importorskip("diffusers", reason="the oracle is a test extra")
    made, folder = ours
    pipeline = diffusers.QwenImage21Pipeline.from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    noise = made.noise([3, 4], SIZE.target)
    told = {"negative_prompt": " ", "true_cfg_scale": guidance} if guidance > 1 else {}
    # One by one: in a batch their pipeline puts the target of each behind the longest prompt.
    theirs = [
        pipeline(
            prompt, height=64, width=96, num_inference_steps=4, latents=own[None], output_type="pil", **told
        ).images[0]
        for prompt, own in zip(PROMPTS, noise, strict=True)
    ]
    sampling = Sampling(width_px=96, height_px=64, steps=4, guidance=guidance)
    assert np.abs(levels(made.generate(PROMPTS, [3, 4], sampling)) - levels(theirs)).max() <= 1
    assert levels(theirs).std() > 5


def test_a_folder_brings_the_model_back(ours: tuple[ImageModel, Path]) -> None:
    made, folder = ours
    again = ImageModel.load_pretrained(folder)
    assert again.flow == made.flow
    assert (levels(again.generate(PROMPTS, [3, 4], SIZE)) == levels(made.generate(PROMPTS, [3, 4], SIZE))).all()


def test_a_picture_depends_on_its_own_prompt_and_seed_alone(ours: tuple[ImageModel, Path]) -> None:
    made, _ = ours
    both = levels(made.generate(PROMPTS, [3, 4], SIZE))
    for at, (prompt, seed) in enumerate(zip(PROMPTS, (3, 4), strict=True)):
        assert np.abs(both[at] - levels(made.generate([prompt], [seed], SIZE))[0]).max() <= 1
    alone = levels(made.generate(PROMPTS[1:], [4], SIZE))
    other = levels(made.generate(PROMPTS[1:], [5], SIZE))
    assert np.abs(other - alone).max() > 5


@pytest.mark.parametrize("mask", ["block_causal", "full"])
def test_an_edit_sees_its_references(mask: str) -> None:
    made = model(mask=mask)
    red, blue = Image.new("RGB", (96, 96), "red"), Image.new("RGBA", (96, 96), "blue")
    by = [levels(made.generate(["make it blue"], [1], SIZE, [[one, two]])) for one, two in ((red, blue), (blue, red))]
    assert by[0].shape == (1, 64, 96, 4)
    assert 0 < np.abs(by[0] - by[1]).mean() < 50  # an untrained network tells them apart, if barely


def test_edits_made_together_are_what_each_is_alone() -> None:
    made = model(mask="block_causal")
    red, blue = Image.new("RGB", (96, 96), "red"), Image.new("RGB", (96, 96), "blue")
    guided = replace(SIZE, guidance=2.0)
    long = "make it black, and leave all the rest of it as it is"
    both = levels(made.generate(["make it blue", long], [1, 2], guided, [[red], [blue]]))
    for at, (prompt, seed, seen) in enumerate((("make it blue", 1, red), (long, 2, blue))):
        assert np.abs(both[at] - levels(made.generate([prompt], [seed], guided, [[seen]]))[0]).max() <= 1


def test_refusals(ours: tuple[ImageModel, Path], tmp_path: Path) -> None:
    made, _ = ours
    with pytest.raises(ValueError, match="multiples of 16 px, not 100 x 64"):
        Sampling(width_px=100, height_px=64)
    with pytest.raises(ValueError, match="guidance is 1"):
        Sampling(guidance=0.5)
    with pytest.raises(ValueError, match="1 seeds for 2"):
        made.generate(PROMPTS, [1], SIZE)
    with pytest.raises(ValueError, match="same number and sizes"):
        made.generate(PROMPTS, [1, 2], SIZE, [[Image.new("RGB", (96, 96))], []])
    with pytest.raises(FlywheelError, match=r"holds no model_index\.json"):
        ImageModel.load_pretrained(tmp_path)
