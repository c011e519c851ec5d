"""Simulated updates of a model: what it got right before and after, with an effect that is known."""

from __future__ import annotations

import numpy as np

from flywheel.evidence.paired import Paired

UNSETTLED = 0.3  # of pictures come out anew after any update


def update(prompts: int, seeds: int, *, right: float, effect: float, lot: np.random.Generator) -> Paired:
    """Pictures of prompts, each with a chance of its own around `right`; the candidate gains `effect` on average."""
    easy = np.clip(lot.normal(right, 0.1, size=(prompts, 1)), 0.05, 0.95)
    before = lot.random((prompts, seeds)) < easy
    after = np.where(lot.random((prompts, seeds)) < UNSETTLED, lot.random((prompts, seeds)) < easy, before)
    if effect > 0:
        after |= lot.random((prompts, seeds)) < effect / (1 - right)
    else:
        after &= lot.random((prompts, seeds)) >= -effect / right
    return Paired(candidate=after, other=before)
