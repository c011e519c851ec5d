"""Memory by arithmetic is the memory that there is."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from model.layout import text_to_image
from model.lora import LoRA, adapt
from model.mmdit import MMDiT, MMDiTConfig
from model.train.footprint import footprint, kept_by_forward
from model.train.optim import Average, optimizers, trained
from model.train.recipes import RECIPES

CONFIG = MMDiTConfig(
    num_layers=3, attention_head_dim=32, num_attention_heads=4, context_in_dim=64, axes_dims_rope=(8, 12, 12)
)
LAYOUT = text_to_image(100, 16, 16)
RECIPE = replace(RECIPES["sft"], network=CONFIG)


def passed(network: MMDiT) -> Tensor:
    out: Tensor = network(torch.randn(1, 256, 64), torch.randn(1, 100, 64), torch.rand(1), LAYOUT)
    return out


@pytest.mark.parametrize("lora", [LoRA(), LoRA(rank=4), LoRA(rank=4, base="8 bits")])
def test_what_stays_is_what_the_tensors_of_a_step_weigh(lora: LoRA) -> None:
    network = MMDiT(CONFIG)
    if lora.rank:
        adapt(network, lora, 0, torch.bfloat16)
    passed(network).square().mean().backward()  # type: ignore[no-untyped-call]
    steps = optimizers(network, RECIPE.optimizer)
    for step in steps:
        step.step()
    weights = [weight for _, weight in trained(network)]
    there = [
        *weights,
        *(weight.grad for weight in weights if weight.grad is not None),
        *(tensor for step in steps for state in step.state.values() for tensor in state.values() if tensor.ndim),
        *Average(network, 0.9).weights.values(),
    ]
    expected = footprint(replace(RECIPE, lora=lora), LAYOUT.tokens)
    assert sum(tensor.nbytes for tensor in there) == expected.trained
    frozen = [weight for weight in network.parameters() if not weight.requires_grad] + list(network.buffers())
    assert sum(tensor.nbytes for tensor in frozen) == pytest.approx(expected.frozen, rel=0.05)  # and the rows' scales


@pytest.mark.parametrize("layers", [2, 5])
def test_what_the_forward_pass_keeps_is_as_estimated(layers: int) -> None:
    network = MMDiT(replace(CONFIG, num_layers=layers))
    own = {weight.untyped_storage().data_ptr() for weight in network.parameters()}
    kept: dict[int, tuple[int, Tensor]] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes(), tensor  # held, so that no place is used twice
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        passed(network)
    estimate = kept_by_forward(replace(RECIPE, network=network.config), LAYOUT.tokens, 4)
    assert sum(size for size, _ in kept.values()) == pytest.approx(estimate, rel=0.05)


def test_the_release_on_one_card_and_on_eight() -> None:
    """What docs/model.md promises."""
    full = replace(RECIPES["sft"], checkpointing=True)
    tuned = replace(full, lora=LoRA(rank=32, base="8 bits"))
    tokens = 64 * 64 + 300
    assert footprint(tuned, tokens).total < 16e9
    assert footprint(full, tokens).total > 80e9
    assert footprint(full, tokens, workers=8).total < 24e9
