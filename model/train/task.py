"""What a trainer needs to know of what it trains: the network, the loss of a batch, and how much work that is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

import torch
from torch import Tensor, nn


class Batch(Protocol):
    """`keys` name the samples."""

    @property
    def keys(self) -> Sequence[str]: ...

    def to(self, device: torch.device) -> Self: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """Of a batch, or of several: samples, tokens, and floating point operations."""

    samples: int = 0
    tokens: int = 0
    flops: float = 0.0

    def __add__(self, other: Work) -> Work:
        return Work(
            samples=self.samples + other.samples, tokens=self.tokens + other.tokens, flops=self.flops + other.flops
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Task:
    """`loss(batch, step)` is a mean over the batch. `units` are what is sharded apart, and kept whole together."""

    network: nn.Module
    loss: Callable[[Any, int], Tensor]
    work: Callable[[Any], Work]
    units: Sequence[nn.Module] = ()


Batches = Callable[[int, int], Any]  # the number of a batch, and the step that it is for
