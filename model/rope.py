"""Rotary positions (MSRoPE): every token has a place on three axes, each axis turns its share of a head's channels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from model.layout import Position

_THETA = 10000.0


def rope(positions: Sequence[Position], axes: Sequence[int], device: torch.device) -> Tensor:
    """Cosine and sine (tokens, channels / 2, 2) of each token's angle in each pair of channels."""
    placed = torch.tensor(positions, dtype=torch.float32, device=device)
    angles = []
    for at, channels in enumerate(axes):
        powers = torch.arange(0, channels, 2, dtype=torch.float32, device=device) / channels
        angles.append(torch.outer(placed[:, at], 1.0 / _THETA**powers))
    joined = torch.cat(angles, dim=-1)
    return torch.stack([joined.cos(), joined.sin()], dim=-1)


def turned(x_BHLK: Tensor, turns: Tensor) -> Tensor:
    """Rotary embedding: each pair of neighbouring channels turned by its angle, in float32."""
    first, second = x_BHLK.float().reshape(*x_BHLK.shape[:-1], -1, 2).unbind(-1)
    cos, sin = turns.unbind(-1)
    return torch.stack([first * cos - second * sin, first * sin + second * cos], dim=-1).flatten(-2)
