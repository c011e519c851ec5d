"""The generator's task: the flow-matching loss of a batch, each sample under noises of its own."""

from __future__ import annotations

import torch
from torch import Tensor

from model.flow import flow_loss, noised
from model.mmdit import MMDiT
from model.train.material import Material
from model.train.meter import flops_of
from model.train.noise import drawn
from model.train.recipe import Recipe
from model.train.task import Task, Work

_SHAPES = 64  # of batches that are compiled apart: with and without references, padded or not. Our choice
_WITHOUT_GRADIENTS = 2 / 3  # of the work is left where a map's own gradient is not asked for


def generator_task(network: MMDiT, recipe: Recipe) -> Task:
    """The network is made as its recipe wants it: blocks compiled, or computed twice."""
    network.checkpointing = recipe.checkpointing
    blocks = list(network.transformer_blocks)
    if recipe.compile:
        torch._dynamo.config.recompile_limit = _SHAPES  # at torch's own 8 the ninth shape would silently go without
        for block in blocks:
            block.compile()

    def loss(material: Material, step: int) -> Tensor:
        return objective(network, recipe, material, step)

    def work_of(material: Material) -> Work:
        samples = len(material.keys)
        flops = samples * flops_of(network.config, material.layout)
        if recipe.lora.rank:
            flops *= _WITHOUT_GRADIENTS
        return Work(samples=samples, tokens=samples * material.layout.tokens, flops=flops)

    return Task(network=network, loss=loss, work=work_of, units=blocks)


def objective(network: MMDiT, recipe: Recipe, material: Material, step: int) -> Tensor:
    """The mean loss of a batch; each sample's noise and sigma are its own at this step."""
    target = material.target_BNC
    noise, normal = (one.to(target.device) for one in drawn(recipe.seed, step, material.keys, target.shape[1:]))
    sigma = recipe.flow.sigmas_for_training(normal, target.shape[1])
    latents = torch.cat([material.references_BRC, noised(target, noise, sigma)], dim=1)
    velocity = network(latents, material.context_BSE, sigma, material.layout, valid_BS=material.valid_BS)
    return flow_loss(velocity, target, noise, recipe.flow.weights(sigma)).mean()
