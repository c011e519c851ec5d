"""Where a run starts: the frozen half of a model and the network that is trained, of one shape with the recipe."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from flywheel.errors import UsageError
from model.bundled import bundled_model
from model.mmdit import MMDiT
from model.precision import CPU
from model.sample import ImageModel
from model.train.initial import initialised
from model.train.recipe import Recipe


def started(recipe: Recipe, folder: Path | None, device: torch.device = CPU) -> tuple[Recipe, ImageModel]:
    """The recipe with the network's real shape, and the model. Raises UsageError where the two do not fit."""
    base = ImageModel.load_pretrained(folder or bundled_model(), device)
    if recipe.begins == "weights":
        return replace(recipe, network=base.network.config), base
    config, condition, vae = recipe.network, base.condition, base.vae.config
    if (config.context_in_dim, config.in_channels) != (condition.channels, vae.z_dim):
        raise UsageError(
            f"recipe {recipe.name} has a network for {config.context_in_dim} text and {config.in_channels} latent channels, the "
            f"model at {folder or bundled_model()} has {condition.channels} and {vae.z_dim}: give another --model"
        )
    return recipe, replace(base, network=initialised(MMDiT(config), recipe.seed), flow=recipe.flow)
