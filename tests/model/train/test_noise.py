"""Noise is a sample's own at a step."""

from __future__ import annotations

import torch

from model.train.noise import drawn


def test_noise_depends_on_seed_step_and_sample_alone() -> None:
    noise, normal, chance = drawn(0, 5, ["a", "b", "c"], (4, 3))
    other, other_normal, other_chance = drawn(0, 5, ["c", "x", "a"], (4, 3))
    assert torch.equal(noise[0], other[2])
    assert torch.equal(noise[2], other[0])
    assert normal[0] == other_normal[2]
    assert chance[2] == other_chance[0]
    for seed, step, key in ((1, 5, "a"), (0, 6, "a"), (0, 5, "d")):
        assert not torch.equal(drawn(seed, step, [key], (4, 3))[0][0], noise[0])


def test_noise_is_standard_normal_and_samples_are_independent() -> None:
    noise, normal, chance = drawn(3, 0, [f"s{at}" for at in range(2000)], (16,))
    assert abs(noise.mean()) < 0.02
    assert abs(noise.std() - 1) < 0.02
    assert abs(torch.corrcoef(torch.stack([noise[:-1, 0], noise[1:, 0]]))[0, 1]) < 0.08
    assert abs(torch.corrcoef(torch.stack([noise[:, 0], normal]))[0, 1]) < 0.08
    assert 0.47 < chance.mean() < 0.53
    assert chance.min() >= 0
    assert chance.max() < 1
