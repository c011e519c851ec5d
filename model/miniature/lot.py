"""Choices by lot, and by no lot at all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

import numpy as np

T = TypeVar("T")


class Lot(Protocol):
    """What a choice needs of a generator."""

    def integers(self, high: int, /) -> np.int64 | int: ...

    def random(self) -> float: ...

    def permutation(self, number: int, /) -> np.ndarray: ...


class First:
    """The lot that always falls on the first choice: whoever speaks by it says a thing in one way only."""

    def integers(self, high: int, /) -> int:
        return 0

    def random(self) -> float:
        return 0.0

    def permutation(self, number: int, /) -> np.ndarray:
        return np.arange(number)


def pick(rng: Lot, choices: Sequence[T]) -> T:
    """One of the choices, all equally likely. Unlike `rng.choice` it gives back the very object."""
    return choices[int(rng.integers(len(choices)))]
