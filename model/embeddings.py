"""What the network reads besides latents: the time, and features of the condition encoder. Names are the release's."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, silu

_TIME_CHANNELS, _TIME_SCALE, _MAX_PERIOD = 256, 1000.0, 10000.0


class TimeEmbedding(nn.Module):
    """(B,) in 0..1 to (B, D): cosines, then sines, then two linear maps."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.timestep_embedder = nn.ModuleDict(
            {
                "linear_1": nn.Linear(_TIME_CHANNELS, width, bias=False),
                "linear_2": nn.Linear(width, width, bias=False),
            }
        )

    def forward(self, sigma_B: Tensor, dtype: torch.dtype) -> Tensor:
        half = _TIME_CHANNELS // 2
        steps = torch.arange(half, dtype=torch.float32, device=sigma_B.device)
        angles = _TIME_SCALE * sigma_B.float()[:, None] * torch.exp(-math.log(_MAX_PERIOD) * steps / half)
        waves = torch.cat([angles.cos(), angles.sin()], dim=-1).to(dtype)
        first, second = self.timestep_embedder["linear_1"], self.timestep_embedder["linear_2"]
        out: Tensor = second(silu(first(waves)))
        return out


class TextProjection(nn.Module):
    """Features of the condition encoder (…, E) to tokens (…, D)."""

    def __init__(self, channels: int, width: int, eps: float) -> None:
        super().__init__()
        self.text_norm = CentredRMSNorm(channels, eps)
        self.in_layer = nn.Linear(channels, width, bias=False)
        self.out_layer = nn.Linear(width, width, bias=False)

    def forward(self, context: Tensor) -> Tensor:
        out: Tensor = self.out_layer(gelu(self.in_layer(self.text_norm(context)), approximate="tanh"))
        return out


class CentredRMSNorm(nn.Module):
    """RMSNorm in float32 whose weight is kept as its distance from one."""

    def __init__(self, channels: int, eps: float) -> None:
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.zeros(channels)), eps

    def forward(self, x: Tensor) -> Tensor:
        wide = x.float()
        return (wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.eps) * (self.weight.float() + 1)).to(
            x.dtype
        )
