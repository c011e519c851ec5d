"""Choices by lot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

T = TypeVar("T")


def pick(rng: np.random.Generator, choices: Sequence[T]) -> T:
    """One of the choices, all equally likely. Unlike `rng.choice` it gives back the very object."""
    return choices[int(rng.integers(len(choices)))]
