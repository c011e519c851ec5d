"""How many prompts a gate needs, so that an update that changes nothing passes its harm tests.

Two checkpoints that are equally good still draw some pictures differently. How often is learned from a pilot (the control arm
beside the checkpoint before), and updates without effect are made of it by lot: each prompt's gain with a sign of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from statistics import NormalDist

import numpy as np

from flywheel.evidence.paired import Numbers, Paired
from flywheel.gate.decision import Rules

CHANCE = 0.85  # that an update without effect passes
_UPDATES, _GROWS = 2_000, 1.1


def prompts_needed(pilot: Paired, slices: Mapping[str, float], rules: Rules, *, seed: int = 0) -> int:
    """Prompts of as many seeds as the pilot's. `slices`: each one's share of all prompts.

    Raises ValueError for a share that is none.
    """
    if not all(0 < share <= 1 for share in slices.values()):
        raise ValueError(f"shares of all prompts, above 0 and at most 1: not {dict(slices)}")
    seeds, lot = pilot.candidate.shape[1], np.random.default_rng(seed)
    gains = pilot.gains_P / seeds
    least = [rules.pooled_least, *(rules.slice_least / share for share in slices.values())]
    prompts = int(np.ceil(max(least) / seeds))
    while _passing(gains, prompts, slices, rules, lot) < CHANCE:
        prompts = int(np.ceil(prompts * _GROWS))
    return prompts


def _passing(
    gains: Numbers, prompts: int, slices: Mapping[str, float], rules: Rules, lot: np.random.Generator
) -> float:
    """The share of updates without effect whose every harm test holds. Bounds as of a normal mean: of so many prompts it is."""
    asked = [(prompts, rules.pooled_margin), *((int(prompts * share), rules.slice_margin) for share in slices.values())]
    z = NormalDist().inv_cdf(1 - rules.alpha / rules.looks)
    holds = np.ones(_UPDATES, dtype=bool)
    for size, margin in asked:
        means, deviations = _without_effect(gains, size, lot)
        holds &= means - z * deviations / np.sqrt(size) > -margin
    return float(holds.mean())


def _without_effect(gains: Numbers, size: int, lot: np.random.Generator) -> tuple[Numbers, Numbers]:
    """Mean and deviation of so many updates' gains, (_UPDATES,) each."""
    values, often = np.unique(np.concatenate([gains, -gains]), return_counts=True)
    drawn = lot.multinomial(size, often / often.sum(), size=_UPDATES)
    means = drawn @ values / size
    return means, np.sqrt(np.maximum(drawn @ values**2 / size - means**2, 0.0))
