"""The objective and the sampler against independent numbers, and against diffusers' scheduler."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model.flow import Flow, euler, flow_loss, guided, noised, shifted

diffusers = pytest.importorskip("diffusers", reason="the oracle is a test extra")

RELEASE = Flow()


def test_sigmas_are_logit_normal() -> None:
    """Golden of SD3's density sampling, seed 0, mean 0, deviation 1."""
    normal = torch.randn(4, generator=torch.Generator().manual_seed(0))
    plain = Flow(base_shift=0.0, max_shift=0.0)
    assert plain.sigmas_for_training(normal, 1).tolist() == pytest.approx(
        [0.823609, 0.427165, 0.101671, 0.638401], abs=1e-6
    )


def test_weights_golden() -> None:
    weights = Flow(weighting="cosmap").weights(torch.tensor([0.25, 0.5, 0.75]))
    assert weights.tolist() == pytest.approx([1.018592, 1.273239, 1.018592], abs=1e-6)
    assert Flow(weighting="sigma_sqrt").weights(torch.tensor([0.5])).item() == pytest.approx(4)
    with pytest.raises(ValueError, match="none, cosmap or sigma_sqrt"):
        Flow(weighting="other")  # type: ignore[arg-type]


@pytest.mark.parametrize(("tokens", "mu"), [(1024, 0.53871), (4096, 0.693548), (16384, 1.312903)])
def test_shift_golden(tokens: int, mu: float) -> None:
    assert RELEASE.mu(tokens) == pytest.approx(mu, abs=1e-6)


@pytest.mark.parametrize(("side", "shift"), [(256, 1.649), (512, 1.714), (1024, 2.001), (1536, 2.590), (2048, 3.717)])
def test_shift_of_a_square_golden(side: int, shift: float) -> None:
    assert math.exp(RELEASE.mu((side // 16) ** 2)) == pytest.approx(shift, abs=6e-4)


def test_four_steps_golden() -> None:
    assert RELEASE.schedule(4, 4096) == pytest.approx([1, 0.766709, 0.455614, 0.02, 0], abs=1e-6)


@pytest.mark.parametrize("steps", [2, 4, 40])
@pytest.mark.parametrize("tokens", [36, 1024, 16384])
def test_the_schedule_is_the_releases(steps: int, tokens: int) -> None:
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(
        base_shift=0.5, max_shift=0.9, base_image_seq_len=256, max_image_seq_len=8192, shift=1.0,
        shift_terminal=0.02, time_shift_type="exponential", use_dynamic_shifting=True,
    )  # fmt: skip
    scheduler.set_timesteps(
        sigmas=[1 - at * (1 - 1 / steps) / (steps - 1) for at in range(steps)], mu=RELEASE.mu(tokens)
    )
    assert RELEASE.schedule(steps, tokens) == pytest.approx(scheduler.sigmas.tolist(), abs=2e-6)
    latents, velocity = torch.randn(2, 5, 3), torch.randn(steps, 2, 5, 3)
    theirs = latents
    for at, timestep in enumerate(scheduler.timesteps):
        theirs = scheduler.step(velocity[at], timestep, theirs, return_dict=False)[0]
    calls = iter(velocity)
    ours = euler(lambda x, sigma: next(calls), latents, RELEASE.schedule(steps, tokens))
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


@given(st.integers(1, 60), st.integers(1, 20_000))
def test_a_schedule_falls_from_one_to_zero(steps: int, tokens: int) -> None:
    sigmas = RELEASE.schedule(steps, tokens)
    assert len(sigmas) == steps + 1
    assert sigmas[0] == pytest.approx(1)
    assert sigmas[-1] == 0
    assert all(one > two for one, two in pairwise(sigmas))
    with pytest.raises(ValueError, match="at least one step"):
        RELEASE.schedule(0, tokens)


@given(st.floats(1e-6, 1 - 1e-6), st.floats(-3, 3))
def test_a_shift_is_undone_by_its_opposite(sigma: float, mu: float) -> None:
    once = shifted(torch.tensor(sigma, dtype=torch.float64), mu)
    assert 0 < once < 1
    assert shifted(once, -mu).item() == pytest.approx(sigma, rel=1e-6)
    assert (once.item() > sigma) == (mu > 0) or abs(mu) < 1e-9


def test_the_true_velocity_leads_from_any_noise_to_the_image() -> None:
    image, noise = torch.randn(3, 4, 8), torch.randn(3, 4, 8)
    made = euler(lambda x, sigma: noise - image, noise, RELEASE.schedule(7, 64))
    torch.testing.assert_close(made, image, rtol=1e-4, atol=1e-5)
    sigma = torch.tensor([0.0, 0.3, 1.0])
    between = noised(image, noise, sigma)
    torch.testing.assert_close(between[0], image[0])
    torch.testing.assert_close(between[2], noise[2])
    assert flow_loss(noise - image, image, noise, torch.ones(3)).tolist() == [0, 0, 0]
    assert flow_loss(noise - image + 2, image, noise, torch.tensor([1.0, 2.0, 3.0])).tolist() == pytest.approx(
        [4, 8, 12], rel=1e-5
    )


def test_guidance_of_one_is_the_condition() -> None:
    told, null = torch.randn(2, 3), torch.randn(2, 3)
    torch.testing.assert_close(guided(told, null, 1.0), told)
    torch.testing.assert_close(guided(told, null, 0.0), null)
    torch.testing.assert_close(guided(told, null, 4.0), null + 4 * (told - null))
