"""A share of things, and what it may be in truth."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

_Z = NormalDist().inv_cdf(0.975)


def wilson(mean: float, number: int) -> tuple[float, float]:
    """95 % of a share (Wilson 1927), which is never empty, not even at 0 and 1. For scores between, it is on the safe side."""
    spread = _Z**2 / number
    middle = (mean + spread / 2) / (1 + spread)
    half = _Z / (1 + spread) * (mean * (1 - mean) / number + spread / (4 * number)) ** 0.5
    return max(0.0, middle - half), min(1.0, middle + half)


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """`mean` of `of` independent things (prompts, images); 0 of 0 says nothing: its interval is everything."""

    mean: float
    of: int

    @property
    def low(self) -> float:
        return wilson(self.mean, self.of)[0] if self.of else 0.0

    @property
    def high(self) -> float:
        return wilson(self.mean, self.of)[1] if self.of else 1.0

    def is_above(self, bar: float) -> bool | None:
        """None: not decided."""
        if self.low > bar:
            return True
        return False if self.high < bar else None
