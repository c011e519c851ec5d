"""The loss is the formula's, sample by sample; a network begins where it can learn."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small_run import NETWORK, RECIPE, batches, trainer

from model.flow import noised
from model.mmdit import MMDiT
from model.train.initial import initialised
from model.train.noise import drawn
from model.train.objective import objective


def network(**changed: object) -> MMDiT:
    made = initialised(MMDiT(replace(NETWORK, **changed)), 3)  # type: ignore[arg-type]
    with torch.no_grad():
        made.proj_out.weight.normal_(generator=torch.Generator().manual_seed(1))
    return made


@torch.no_grad()
def by_hand(made: MMDiT, step: int) -> float:
    material, losses = batches(0, step), []
    for at, key in enumerate(material.keys):
        noise, normal = drawn(RECIPE.seed, step, [key], (4, 4))
        sigma = RECIPE.flow.sigmas_for_training(normal, 4)
        own = slice(at, at + 1)
        target = material.target_BNC[own]
        latents = torch.cat([material.references_BRC[own], noised(target, noise, sigma)], dim=1)
        velocity = made(latents, material.context_BSE[own], sigma, material.layout)
        losses.append(float((velocity - (noise - target)).square().mean()))
    return sum(losses) / len(losses)


@pytest.mark.parametrize("mask", ["block_causal", "full"])
def test_the_loss_is_the_mean_over_samples_each_with_its_own_noise(mask: str) -> None:
    made = network(mask=mask)
    found = objective(made, RECIPE, batches(0, 5), 5)
    assert float(found.detach()) == pytest.approx(by_hand(made, 5), rel=1e-5)


def test_a_network_begins_with_open_gates_and_no_voice() -> None:
    config = replace(NETWORK, attention_head_dim=32, num_attention_heads=4, axes_dims_rope=(8, 12, 12))
    made, again, other = (initialised(MMDiT(config), seed) for seed in (0, 0, 1))
    for one, two in zip(made.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, two)
    assert not torch.equal(made.img_in.weight, other.img_in.weight)
    material = batches(0, 0)
    latents = torch.cat([material.references_BRC, material.target_BNC], dim=1)
    sigma = torch.linspace(0, 1, len(latents))
    assert not made(latents, material.context_BSE, sigma, material.layout).any()
    scale1, gate1, scale2, gate2 = made.modulation(made.time_text_embed(sigma, torch.float32)).chunk(4, dim=-1)
    assert not scale1.any()
    assert not scale2.any()
    for gate in (gate1.tanh(), gate2.tanh()):
        assert (gate > 0.3).all()
        assert (gate < 0.7).all()


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="what is compiled needs a compiler")
def test_compiled_blocks_learn_what_plain_ones_do(tmp_path: Path) -> None:
    recipe = replace(RECIPE, steps=4)
    plain = [told.loss for told in trainer(tmp_path / "plain", recipe).follow()]
    graphs = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    compiled = [told.loss for told in trainer(tmp_path / "compiled", replace(recipe, compile=True)).follow()]
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > graphs, "blocks were compiled"
    torch.testing.assert_close(torch.tensor(compiled), torch.tensor(plain), rtol=1e-3, atol=0)
