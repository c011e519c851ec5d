"""Maps that are not trained, kept small or kept away, so that a large network is fine-tuned on a small card.

    8 bits    a row of a matrix is whole numbers from -127 to 127 and one scale: its largest number is exact (our choice)
    away      matrices lie in the main memory and come to the device when their layer is reached, forward and backward

Neither pass keeps what it fetched: a block's matrices are on the device, and in full precision, only while it computes.
Shapes: O outputs, I inputs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

_MOST = 127


class FrozenLinear(nn.Module):
    """A bias-free linear map without gradients of its own. `dtype` is what it is kept in where it is not in 8 bits."""

    weight_OI: Tensor
    scale_O: Tensor | None
    away: bool
    in_features: int
    out_features: int

    def __init__(self, trained: nn.Linear, dtype: torch.dtype, *, eight_bits: bool = False, away: bool = False) -> None:
        super().__init__()
        if trained.bias is not None:
            raise ValueError("a frozen map has no bias")
        self.in_features, self.out_features, self.away = trained.in_features, trained.out_features, away
        weight = trained.weight.detach()
        kept, scale = _rounded(weight) if eight_bits else (weight.to(dtype), None)
        self.register_buffer("weight_OI", _at_home(kept) if away else kept)
        self.register_buffer("scale_O", scale)

    def forward(self, x: Tensor) -> Tensor:
        kind = x.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype
        out: Tensor = _Looked.apply(x.to(dtype), self)
        return out

    def whole(self, device: torch.device, dtype: torch.dtype) -> Tensor:
        """The matrix (O, I), fetched and in full."""
        weight = self.weight_OI.to(device, non_blocking=True)
        if self.scale_O is None:
            return weight.to(dtype)
        return weight.to(dtype) * self.scale_O.to(device, dtype)[:, None]

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Moves with the network, unless it stays away; whole numbers stay what they are."""
        return self if self.away else super()._apply(fn, recurse)  # type: ignore[no-untyped-call]


class _Looked(torch.autograd.Function):
    """The product with a frozen map; for the way back it remembers the map and not its matrix."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: FrozenLinear) -> Tensor:
        ctx.layer = layer
        return linear(x, layer.whole(x.device, x.dtype))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (gradient,) = gradients
        return gradient @ ctx.layer.whole(gradient.device, gradient.dtype), None


def _rounded(weight_OI: Tensor) -> tuple[Tensor, Tensor]:
    scale_O = (weight_OI.float().abs().amax(dim=1) / _MOST).clamp(min=torch.finfo(torch.float32).tiny)
    return (weight_OI.float() / scale_O[:, None]).round().to(torch.int8), scale_O


def _at_home(weight: Tensor) -> Tensor:
    weight = weight.cpu()
    return weight.pin_memory() if torch.cuda.is_available() else weight
