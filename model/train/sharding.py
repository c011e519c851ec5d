"""A network made ready for its world: blocks compiled, computed twice, and sharded over the workers (FSDP2), as a recipe says."""

from __future__ import annotations

import torch
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

from flywheel.errors import UsageError
from model.mmdit import MMDiT
from model.train.recipe import Recipe
from model.train.world import World


def made_ready(network: MMDiT, recipe: Recipe, world: World) -> None:
    """In place. Raises UsageError where a step's batches cannot be shared among the workers."""
    if recipe.accumulate % world.size:
        raise UsageError(
            f"a step of {recipe.accumulate} batches cannot be shared by {world.size} workers: "
            f"--set accumulate={-(-recipe.accumulate // world.size) * world.size}"
        )
    network.checkpointing = recipe.checkpointing
    network.to(world.device)
    if recipe.compile:
        for block in network.transformer_blocks:
            block.compile()
    if world.mesh is None:
        return
    half = recipe.computes_half(world.device)
    policy = MixedPrecisionPolicy(
        param_dtype=torch.bfloat16 if half else None, reduce_dtype=torch.float32 if half else None
    )
    for part in (*network.transformer_blocks, network):
        fully_shard(part, mesh=world.mesh, mp_policy=policy)
