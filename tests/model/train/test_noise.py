"""Noise is a sample's own at a step."""

from __future__ import annotations

import torch

from model.train.noise import drawn, dropped


def test_noise_depends_on_seed_step_and_sample_alone() -> None:
    noise, normal = drawn(0, 5, ["a", "b", "c"], (4, 3))
    other, other_normal = drawn(0, 5, ["c", "x", "a"], (4, 3))
    assert torch.equal(noise[0], other[2])
    assert torch.equal(noise[2], other[0])
    assert normal[0] == other_normal[2]
    for seed, step, key in ((1, 5, "a"), (0, 6, "a"), (0, 5, "d")):
        assert not torch.equal(drawn(seed, step, [key], (4, 3))[0][0], noise[0])


def test_noise_is_standard_normal_and_samples_are_independent() -> None:
    noise, normal = drawn(3, 0, [f"s{at}" for at in range(2000)], (16,))
    assert abs(noise.mean()) < 0.02
    assert abs(noise.std() - 1) < 0.02
    assert abs(torch.corrcoef(torch.stack([noise[:-1, 0], noise[1:, 0]]))[0, 1]) < 0.08
    assert abs(torch.corrcoef(torch.stack([noise[:, 0], normal]))[0, 1]) < 0.08


def test_so_many_prompts_are_dropped_and_others_at_every_step() -> None:
    first, second = ([dropped(3, step, f"s{at}", 0.2) for at in range(2000)] for step in (0, 1))
    assert 0.17 < sum(first) / 2000 < 0.23
    assert first != second
    assert not any(dropped(3, 0, f"s{at}", 0.0) for at in range(50))
