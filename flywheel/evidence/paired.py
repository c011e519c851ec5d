"""What two checkpoints did on the same prompts and seeds, and how sure one may be of the difference.

Prompts are what was sampled, and seeds of one prompt are alike: so whole prompts are drawn anew (a bootstrap clustered by
prompt), never single pictures. Shapes: P prompts, S seeds, R resamples.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

Right = npt.NDArray[np.bool_]  # (P, S)
Numbers = npt.NDArray[np.float64]
RESAMPLES = 4_000


@dataclass(frozen=True, kw_only=True, eq=False)
class Paired:
    """Which pictures were right, of the candidate and of what it is held against: (P, S) each.

    Raises ValueError for shapes that differ, or where there is no picture.
    """

    candidate: Right
    other: Right

    def __post_init__(self) -> None:
        if self.candidate.shape != self.other.shape or self.candidate.ndim != 2 or not self.candidate.size:
            raise ValueError(
                f"the same prompts and seeds for both, and at least one: not {self.candidate.shape} and {self.other.shape}"
            )

    @property
    def pairs(self) -> int:
        return self.candidate.size

    @cached_property
    def gains_P(self) -> npt.NDArray[np.int64]:
        """Of each prompt: how many seeds more came out right. Whole numbers, so that nothing is what cancels."""
        found: npt.NDArray[np.int64] = self.candidate.sum(axis=1) - self.other.sum(axis=1)
        return found


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Estimate:
    """Of a mean difference. `means_R`: those of resampled prompts, in order."""

    difference: float
    prompts: int
    was_ever_worse: bool
    means_R: Numbers

    def p_above(self, margin: float) -> float:
        """How likely such evidence is where the true difference is no more than `margin`; one-sided.

        Never less than what P coins can say: prompts that all point one way are no proof where they are few.
        """
        below = int(np.searchsorted(self.means_R, margin, side="right"))
        return float(max((1 + below) / (1 + len(self.means_R)), 0.5**self.prompts))

    def low(self, alpha: float) -> float:
        """The one-sided lower bound. Where no prompt got worse, as many may have as such a sample would miss."""
        bound = float(np.quantile(self.means_R, alpha))
        return bound if self.was_ever_worse else min(bound, alpha ** (1 / self.prompts) - 1)

    def high(self, alpha: float) -> float:
        return float(np.quantile(self.means_R, 1 - alpha))


def estimate(paired: Paired, seed: int, resamples: int = RESAMPLES) -> Estimate:
    """The same for the same seed."""
    gains = paired.gains_P
    prompts, lot = len(gains), np.random.default_rng([seed, len(gains)])
    # Prompts with equal gains are interchangeable: how often each value is drawn is all that counts.
    values, often = np.unique(gains, return_counts=True)
    means = lot.multinomial(prompts, often / prompts, size=resamples) @ values / paired.pairs
    return Estimate(
        difference=float(gains.sum() / paired.pairs),
        prompts=prompts,
        was_ever_worse=bool((gains < 0).any()),
        means_R=np.sort(means),
    )


def holm(p_values: dict[str, float], alpha: float) -> set[str]:
    """Those that hold at a family-wise error of `alpha`, by Holm's step-down."""
    found: set[str] = set()
    for tested, name in enumerate(sorted(p_values, key=p_values.__getitem__)):
        if p_values[name] > alpha / (len(p_values) - tested):
            break
        found.add(name)
    return found
