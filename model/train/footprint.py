"""How much memory a run needs, by arithmetic: before a card is rented for it.

Weights, gradients, AdamW's two moments and the average are float32; frozen maps are what `LoRA` says. What the forward pass keeps
is an estimate, held to a measured one by a test: INSIDE numbers a token and a channel of width for a block, ENDS for what is before
and behind all blocks. Where blocks are computed twice (`checkpointing`) there is one at a time, and the input of each.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from model.lora import TARGETS
from model.mmdit import MMDiT
from model.train.recipe import Recipe

INSIDE, ENDS = 29, 8
_FLOAT, _HALF, _BYTE = 4, 2, 1
_TRAINED = 5 * _FLOAT  # bytes a weight: itself, its gradient, two moments, the average


@dataclass(frozen=True, slots=True, kw_only=True)
class Footprint:
    """Bytes on one of the workers' devices."""

    frozen: float
    trained: float
    gathered: float  # whole blocks of sharded weights, the one that computes and the one that comes next
    kept: float  # by the forward pass for the backward one

    @property
    def total(self) -> float:
        return self.frozen + self.trained + self.gathered + self.kept


def footprint(recipe: Recipe, tokens: int, workers: int = 1) -> Footprint:
    """Of a step in bfloat16 with batches of so many tokens, text and references counted."""
    with torch.device("meta"):
        network = MMDiT(recipe.network)
    own = sum(weight.numel() for weight in network.parameters())
    maps = sum(module.weight.numel() for name, module in network.named_modules() if _is_map(name, module))
    block = sum(weight.numel() for weight in network.transformer_blocks[0].parameters())
    trained, frozen = own, 0.0
    if recipe.lora.rank:
        trained = _added(network, recipe)
        each = _BYTE if recipe.lora.base == "8 bits" else _HALF
        frozen = (own - maps) * _FLOAT + maps * (0 if recipe.lora.away else each)
    return Footprint(
        frozen=frozen,
        trained=trained * _TRAINED / workers,
        gathered=2 * block * _HALF if (recipe.lora.away if recipe.lora.rank else workers > 1) else 0,
        kept=kept_by_forward(recipe, tokens, _HALF),
    )


def kept_by_forward(recipe: Recipe, tokens: int, bytes_each: int) -> float:
    """Bytes for the backward pass, of all blocks."""
    config = recipe.network
    layer = tokens * config.width * bytes_each
    inside = INSIDE + 4 * (config.mlp_ratio - 3)  # SwiGLU keeps four of the inner width
    blocks = inside + config.num_layers if recipe.checkpointing else inside * config.num_layers
    return layer * (blocks + ENDS)


def _is_map(name: str, module: torch.nn.Module) -> bool:
    inside = name.startswith("transformer_blocks.") and name.endswith(tuple(f".{target}" for target in TARGETS))
    return inside and isinstance(module, torch.nn.Linear)


def _added(network: MMDiT, recipe: Recipe) -> int:
    """Weights of the LoRA."""
    rank = recipe.lora.rank
    return sum(
        rank * (module.in_features + module.out_features)
        for name, module in network.named_modules()
        if isinstance(module, torch.nn.Linear) and _is_map(name, module)
    )
