"""A network and batches small enough to train in a test; also run as a program, to be killed."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from model.flow import Flow
from model.layout import Image, edit
from model.mmdit import MMDiT, MMDiTConfig
from model.train.guards import GuardConfig
from model.train.loop import Trainer
from model.train.material import Material
from model.train.objective import generator_task
from model.train.recipe import Optimizer, Recipe

SMALL: dict[str, Any] = {
    "in_channels": 4,
    "out_channels": 4,
    "num_layers": 2,
    "attention_head_dim": 8,
    "num_attention_heads": 2,
    "context_in_dim": 6,
    "axes_dims_rope": (4, 2, 2),
}
NETWORK = MMDiTConfig(**SMALL)
RECIPE = Recipe(  # of its own, whole: tuning a shipped recipe changes no test
    name="small",
    says="a dozen steps of a test",
    begins="anew",
    network=NETWORK,
    flow=Flow(mean=0.8, base_shift=0.0, max_shift=0.0),
    optimizer=Optimizer(lr=3e-3, muon_lr=3e-3, warm_up=3, decay=0.5),
    guard=GuardConfig(warm_up=5, patience=3),
    steps=12,
    resolutions=(96,),
    edits=0.15,
    tokens=4_096,
    averaging=0.9,
    dtype="float32",
    save_every=5,
)
LAYOUT = edit([3, 2], [Image(2, 2)], Image(2, 2))


def network() -> MMDiT:
    torch.manual_seed(0)
    return MMDiT(NETWORK)


def batches(number: int, step: int, size: int = 6) -> Material:
    """Images that follow from their prompts, so that there is something to learn."""
    keys = tuple(f"s{(number * size + at) % 40}" for at in range(size))
    draw = [torch.Generator().manual_seed(int(key[1:])) for key in keys]
    context = torch.stack([torch.randn(5, 6, generator=one) for one in draw])
    return Material(
        keys=keys,
        target_BNC=context[:, :4, :4] * 2,
        references_BRC=torch.stack([torch.randn(4, 4, generator=one) for one in draw]),
        context_BSE=context,
        valid_BS=None,
        layout=LAYOUT,
    )


def trainer(run: Path, recipe: Recipe = RECIPE) -> Trainer:
    return Trainer(recipe, generator_task(network(), recipe), batches, run)


if __name__ == "__main__":
    for told in trainer(Path(sys.argv[1]), replace(RECIPE, steps=100_000, save_every=1, keep=2)).follow():
        print(told.step, flush=True)
