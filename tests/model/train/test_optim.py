"""Who steps which weights, how fast, and what the average is."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_run import network

from model.train.muon import Muon
from model.train.optim import Average, optimizers, rate, set_rate
from model.train.recipe import Optimizer

RECIPE = Optimizer(lr=1e-3, muon_lr=2e-3, weight_decay=0.1, warm_up=10, decay=0.5, last=0.02)


@pytest.mark.parametrize("muon_lr", [0.0, 2e-3])
def test_every_weight_is_stepped_once_and_norms_are_not_decayed(muon_lr: float) -> None:
    net = network()
    found = optimizers(net, replace(RECIPE, muon_lr=muon_lr))
    stepped = [weight for one in found for group in one.param_groups for weight in group["params"]]
    assert len(stepped) == len({id(weight) for weight in stepped}) == len(list(net.parameters()))
    for one in found:
        for group in one.param_groups:
            assert all((weight.ndim > 1) == (group["weight_decay"] > 0) for weight in group["params"])
    muon = [weight for one in found if isinstance(one, Muon) for weight in one.param_groups[0]["params"]]
    inside = {id(weight) for weight in net.transformer_blocks.parameters() if weight.ndim == 2}
    assert {id(weight) for weight in muon} == (inside if muon_lr else set())


def test_the_rate_climbs_stays_and_falls() -> None:
    rates = [rate(RECIPE, step, 200) for step in range(200)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9:100] == pytest.approx([1.0] * 91)
    assert rates[150] == pytest.approx(0.5)
    assert rates[-1] == pytest.approx(0.02)
    assert rate(replace(RECIPE, decay=0.0), 199, 200) == 1.0
    net = network()
    found = optimizers(net, RECIPE)
    set_rate(found, RECIPE, 0.5)
    rates = sorted({group["lr"] for one in found for group in one.param_groups})
    assert rates == [5e-4, 1e-3]


@given(st.integers(0, 500), st.integers(1, 500), st.integers(1, 300), st.floats(0, 1))
def test_a_rate_is_a_share(step: int, steps: int, warm_up: int, decay: float) -> None:
    assert 0 < rate(replace(RECIPE, warm_up=warm_up, decay=decay), min(step, steps), steps) <= 1


def test_the_average_is_what_the_formula_says_and_swapping_twice_changes_nothing() -> None:
    net = network()
    average = Average(net, 0.9)
    weight, wanted = net.img_in.weight, net.img_in.weight.detach().clone()
    for n in range(30):
        with torch.no_grad():
            weight.add_(1.0)
        average.update(net)
        decay = min(0.9, (1 + n) / (10 + n))
        wanted = decay * wanted + (1 - decay) * weight.detach()
    torch.testing.assert_close(average.weights["img_in.weight"], wanted)
    own = weight.detach().clone()
    average.swap(net)
    torch.testing.assert_close(weight.detach(), wanted)
    average.swap(net)
    assert torch.equal(weight, own)
    torch.testing.assert_close(average.weights["img_in.weight"], wanted)
