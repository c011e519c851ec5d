"""Optimizers of a recipe, their rate at a step, and the average of weights that is sampled from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from model.train.muon import Muon
from model.train.recipe import Optimizer
from model.train.world import ALONE, World

_BLOCKS = "transformer_blocks."


def optimizers(network: nn.Module, recipe: Optimizer, world: World = ALONE) -> list[torch.optim.Optimizer]:
    """AdamW for all, or Muon for the blocks' own matrices and AdamW for the rest. Norms' weights are not decayed."""
    named = [(name, weight) for name, weight in network.named_parameters() if weight.requires_grad]
    blocks = [(name, weight) for name, weight in named if name.startswith(_BLOCKS) and weight.ndim == 2]
    # What a LoRA adds is thin: its singular values are not to be made all alike.
    by_muon = [weight for name, weight in blocks if recipe.muon_lr and ".lora_" not in name]
    taken = {id(weight) for weight in by_muon}
    rest = [weight for _, weight in named if id(weight) not in taken]
    groups = [
        {"params": [weight for weight in rest if weight.ndim > 1], "weight_decay": recipe.weight_decay},
        {"params": [weight for weight in rest if weight.ndim <= 1], "weight_decay": 0.0},
    ]
    found: list[torch.optim.Optimizer] = [
        torch.optim.AdamW([group for group in groups if group["params"]], lr=recipe.lr, betas=recipe.betas)
    ]
    if by_muon:
        found.append(Muon(by_muon, lr=recipe.muon_lr, weight_decay=recipe.weight_decay, world=world))
    return found


def rate(recipe: Optimizer, step: int, steps: int) -> float:
    """What the recipe's rates are multiplied by at a step, 0 and up: a climb, a plain, a fall."""
    left = (steps - step) / max(1.0, recipe.decay * steps)
    return min((step + 1) / max(1, recipe.warm_up), 1.0, max(left, recipe.last) if recipe.decay else 1.0)


def set_rate(found: Sequence[torch.optim.Optimizer], recipe: Optimizer, scale: float) -> None:
    for one in found:
        usual = recipe.muon_lr if isinstance(one, Muon) else recipe.lr
        for group in one.param_groups:
            group["lr"] = usual * scale


class Average:
    """The exponential average of a network's weights in float32, slower as it has seen more: (1 + n) / (10 + n) at first.

    Shards of weights are averaged where they lie.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay, self.seen = decay, 0
        self.weights = {name: weight.detach().float().clone() for name, weight in trained(network)}

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        decay = min(self.decay, (1 + self.seen) / (10 + self.seen))
        self.seen += 1
        mine, theirs = zip(*((self.weights[name], weight.float()) for name, weight in trained(network)), strict=True)
        torch._foreach_lerp_(list(mine), list(theirs), 1 - decay)

    @torch.no_grad()
    def swap(self, network: nn.Module) -> None:
        """Put the average into the network and the network's weights here; once more undoes it."""
        for name, weight in trained(network):
            held = weight.detach().float().clone()
            weight.copy_(self.weights[name])
            self.weights[name].copy_(held)


def trained(network: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Weights with gradients, by name."""
    return ((name, weight) for name, weight in network.named_parameters() if weight.requires_grad)
