"""What a step's loss and gradient say about it: take it, leave it, or go back to where all was well.

Pure: numbers in, a decision out, with all that was remembered in a frozen record that is saved with the checkpoint.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import StrEnum
from statistics import median


class Decision(StrEnum):
    TAKE = "take"
    SKIP_NON_FINITE = "skip: not finite"
    SKIP_SPIKE = "skip: spike"
    ROLL_BACK = "roll back"


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardConfig:
    """A loss is a spike where it lies more than `deviations` median deviations above the median of the last `window` ones.

    `patience` bad steps in a row and the run goes back to its last checkpoint. Our choice.
    """

    window: int = 100
    warm_up: int = 20  # losses before anything counts as a spike
    deviations: float = 8.0
    patience: int = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """The losses that were taken last, and how many steps in a row were not."""

    losses: tuple[float, ...] = ()
    bad: int = 0


def judged(guard: Guard, config: GuardConfig, loss: float, gradient_norm: float) -> tuple[Decision, Guard]:
    """The decision for a step, and the guard after it."""
    if math.isfinite(loss) and math.isfinite(gradient_norm):
        if not _is_spike(guard.losses, config, loss):
            return Decision.TAKE, Guard(losses=(*guard.losses, loss)[-config.window :])
        decision = Decision.SKIP_SPIKE
    else:
        decision = Decision.SKIP_NON_FINITE
    after = replace(guard, bad=guard.bad + 1)
    return (Decision.ROLL_BACK, replace(after, bad=0)) if after.bad >= config.patience else (decision, after)


def _is_spike(losses: tuple[float, ...], config: GuardConfig, loss: float) -> bool:
    if len(losses) < config.warm_up:
        return False
    middle = median(losses)
    # Losses of a calm run may be all but equal: a hundredth of the median is no spike.
    spread = max(median(abs(one - middle) for one in losses), abs(middle) / 100, 1e-12)
    return loss > middle + config.deviations * spread
