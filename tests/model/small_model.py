"""A whole image model small enough to train in a test, and pictures of the world to train it on."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import torch

from model.bundled import bundled_condition
from model.condition import ConditionEncoder
from model.miniature.edits import sample as sample_edit
from model.miniature.grammar import sample
from model.miniature.render import render
from model.miniature.wording import plain
from model.mmdit import MMDiT, MMDiTConfig
from model.sample import ImageModel, Sampling
from model.train.initial import initialised
from model.train.recipe import Optimizer, Recipe
from model.train.recipes import RECIPES
from model.vae_linear import LinearVAE, LinearVAEConfig

NETWORK = MMDiTConfig(
    in_channels=16,
    out_channels=16,
    num_layers=2,
    attention_head_dim=8,
    num_attention_heads=2,
    context_in_dim=128,
    axes_dims_rope=(4, 2, 2),
)
RECIPE: Recipe = replace(
    RECIPES["miniature"],
    network=NETWORK,
    optimizer=Optimizer(lr=3e-3, muon_lr=3e-3, warm_up=2, decay=0.5),
    steps=4,
    accumulate=1,
    resolutions=(64,),
    tokens=400,
    edits=0.25,
    save_every=2,
    show_every=2,
)


@cache
def condition() -> ConditionEncoder:
    return ConditionEncoder(*bundled_condition())


def model() -> ImageModel:
    lot = np.random.default_rng(0)
    pictures = np.stack([np.asarray(render(sample(lot), 64, at).image) for at in range(40)])
    vae = LinearVAE(LinearVAEConfig(z_dim=16, width=16, blocks=1))
    torch.manual_seed(0)
    vae.fit(torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1)
    network = initialised(MMDiT(NETWORK), 0)
    sampling = Sampling(width_px=64, height_px=64, steps=2, guidance=2.0)
    return ImageModel(
        condition=condition(), network=network.eval(), vae=vae.eval(), flow=RECIPE.flow, sampling=sampling
    )


def write_pictures(folder: Path, number: int, edits: int = 0) -> None:
    """Pictures with captions beside them, and edits in a listing."""
    lot, lines = np.random.default_rng(1), []
    folder.mkdir(parents=True, exist_ok=True)
    for at in range(number):
        scene = sample(lot, "one")
        render(scene, 64, at).image.save(folder / f"p{at:03}.png")
        (folder / f"p{at:03}.txt").write_text(plain(scene))
    for at in range(edits):
        pair = sample_edit(sample(lot, "two"), lot)
        for name, scene in (("before", pair.before), ("after", pair.after)):
            render(scene, 64, at).image.save(folder / f"{name}{at:03}.png")
        line = {"image": f"after{at:03}.png", "instruction": pair.instruction, "references": [f"before{at:03}.png"]}
        lines.append(json.dumps(line))
    (folder / "edits.jsonl").write_text("\n".join(lines))
