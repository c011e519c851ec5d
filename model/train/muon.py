"""Muon: a matrix's momentum, made orthogonal, is its step. All matrices of a shape at once.

The same steps as `torch.optim.Muon`, which goes matrix by matrix and always in bfloat16: on a CPU without units for it that
takes longer than the rest of training (measured: 5.0 of 7.7 s a step). Source: Jordan et al. 2024; scaled as Moonlight does
(Liu et al. 2025) so that AdamW's rates and decay suit it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, overload

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor

from model.precision import is_half_fast
from model.train.world import ALONE, World, whole

_A, _B, _C = 3.4445, -4.7750, 2.0315  # of the quintic that drives singular values towards one
_ITERATIONS, _MOMENTUM = 5, 0.95


class Muon(torch.optim.Optimizer):
    """For matrices alone; workers share the work of making them orthogonal. Raises ValueError for anything else."""

    def __init__(self, matrices: Iterable[Tensor], lr: float, weight_decay: float, world: World = ALONE) -> None:
        super().__init__(matrices, {"lr": lr, "weight_decay": weight_decay})
        self._world = world
        if any(matrix.ndim != 2 for group in self.param_groups for matrix in group["params"]):
            raise ValueError("Muon is for matrices")

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...
    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Raises ValueError for a closure: there is none to call."""
        if closure is not None:
            raise ValueError("Muon takes no closure")
        for group in self.param_groups:
            for alike in _by_shape(matrix for matrix in group["params"] if matrix.grad is not None):
                self._stepped(alike, group)
        return None

    def _stepped(self, matrices: list[Tensor], group: dict[str, Any]) -> None:
        gradients = [matrix.grad for matrix in matrices if matrix.grad is not None]
        momenta = [self.state[matrix].setdefault("momentum_buffer", torch.zeros_like(matrix)) for matrix in matrices]
        torch._foreach_lerp_(momenta, gradients, 1 - _MOMENTUM)
        ahead = torch._foreach_lerp(gradients, momenta, _MOMENTUM)
        dtype = matrices[0].dtype
        steps = self._world.divided(torch.stack([whole(one) for one in ahead]), lambda rows: orthogonal(rows).to(dtype))
        rate = group["lr"] * 0.2 * max(matrices[0].shape) ** 0.5
        torch._foreach_mul_(matrices, 1 - group["lr"] * group["weight_decay"])
        torch._foreach_add_(
            matrices, [_cut_as(matrix, one) for matrix, one in zip(matrices, steps, strict=True)], alpha=-rate
        )


def orthogonal(matrices_NRC: Tensor) -> Tensor:
    """Each matrix's singular values brought near one, its directions kept (Newton-Schulz)."""
    # Half as wide where that is faster; precision is not needed here.
    found = matrices_NRC.to(torch.bfloat16 if is_half_fast(matrices_NRC.device) else torch.float32)
    tall = found.shape[1] > found.shape[2]
    if tall:
        found = found.mT
    found = found / found.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    for _ in range(_ITERATIONS):
        square = found @ found.mT
        found = torch.baddbmm(found, torch.baddbmm(square, square, square, beta=_B, alpha=_C), found, beta=_A)
    return found.mT if tall else found


def _cut_as(matrix: Tensor, step: Tensor) -> Tensor:
    """This worker's shard of a step that every worker has whole."""
    if not isinstance(matrix, DTensor):
        return step
    return distribute_tensor(step, matrix.device_mesh, matrix.placements, src_data_rank=None)


def _by_shape(matrices: Iterable[Tensor]) -> list[list[Tensor]]:
    found: dict[torch.Size, list[Tensor]] = {}
    for matrix in matrices:
        found.setdefault(matrix.shape, []).append(matrix)
    return list(found.values())
