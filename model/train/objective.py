"""What is minimised: the flow-matching loss of a batch, each sample under noises of its own."""

from __future__ import annotations

import torch
from torch import Tensor

from model.flow import flow_loss, noised
from model.mmdit import MMDiT, PrefixCache
from model.train.material import Material
from model.train.noise import drawn
from model.train.recipe import Recipe


def objective(network: MMDiT, recipe: Recipe, material: Material, step: int) -> Tensor:
    """The mean loss of a batch; each sample's noise and sigma are its own at this step, for each of `recipe.draws`."""
    losses = []
    cache = PrefixCache() if recipe.draws > 1 and network.config.caches else None
    for draw in range(recipe.draws):
        keys = material.keys if not draw else [f"{key} {draw}" for key in material.keys]
        target = material.target_BNC
        noise, normal = (one.to(target.device) for one in drawn(recipe.seed, step, keys, target.shape[1:]))
        sigma = recipe.flow.sigmas_for_training(normal, target.shape[1])
        latents = torch.cat([material.references_BRC, noised(target, noise, sigma)], dim=1)
        velocity = network(
            latents, material.context_BSE, sigma, material.layout, valid_BS=material.valid_BS, cache=cache
        )
        losses.append(flow_loss(velocity, target, noise, recipe.flow.weights(sigma)))
    return torch.stack(losses).mean()
