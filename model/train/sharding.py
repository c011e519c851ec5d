"""A network among the workers: sharded (FSDP2), or a whole one at each where it is small."""

from __future__ import annotations

import torch
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

from flywheel.errors import UsageError
from model.train.recipe import RunRecipe
from model.train.task import Task
from model.train.world import World

# Weights up to which gathering shards, layer by layer, costs more than it spares: such a network with its optimizers takes less
# than a gigabyte. Our choice.
SMALL = 50_000_000


def spread(task: Task, recipe: RunRecipe, world: World) -> bool:
    """In place; whether it is sharded, unit by unit. Where it is not, gradients are the caller's to average.

    Raises UsageError where a step's batches cannot be shared among the workers.
    """
    if recipe.accumulate % world.size:
        raise UsageError(
            f"a step of {recipe.accumulate} batches cannot be shared by {world.size} workers: "
            f"--set accumulate={-(-recipe.accumulate // world.size) * world.size}"
        )
    task.network.to(world.device)
    if world.mesh is None or sum(weight.numel() for weight in task.network.parameters()) <= SMALL:
        return False
    half = recipe.computes_half(world.device)
    policy = MixedPrecisionPolicy(
        param_dtype=torch.bfloat16 if half else None, reduce_dtype=torch.float32 if half else None
    )
    for unit in (*task.units, task.network):
        # The whole is sharded again, too: pictures are drawn on the way, and no backward pass follows that would do it.
        fully_shard(unit, mesh=world.mesh, mp_policy=policy, reshard_after_forward=True)
    return True
