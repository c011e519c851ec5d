"""Noise that belongs to a sample and a step, and to nothing else: not to its neighbours, its worker or the number of workers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from flywheel.seeds import stable_hash


def sample_generator(seed: int, step: int, key: str) -> torch.Generator:
    """On the CPU: devices draw differently."""
    return torch.Generator().manual_seed(int(stable_hash([seed, step, key], 15), 16))


def drawn(seed: int, step: int, keys: Sequence[str], shape: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Noise (B, *shape), and a standard normal number (B,) for each sample's sigma."""
    noise, normal = [], []
    for key in keys:
        generator = sample_generator(seed, step, key)
        normal.append(torch.randn((), generator=generator))
        noise.append(torch.randn(tuple(shape), generator=generator))
    return torch.stack(noise), torch.stack(normal)


def dropped(seed: int, step: int, key: str, share: float) -> bool:
    """Whether this sample's prompt is left out at this step: by lot, `share` of them."""
    return float(torch.rand((), generator=sample_generator(seed, step, f"{key} prompt"))) < share
