"""Muon's steps are torch's own, all matrices of a shape at once."""

from __future__ import annotations

import pytest
import torch

from model.train.muon import Muon, orthogonal


def steps(optimizer: type, matrices: list[torch.Tensor], **settings: object) -> list[torch.Tensor]:
    weights = [torch.nn.Parameter(matrix.clone()) for matrix in matrices]
    found = optimizer(weights, lr=0.02, weight_decay=0.1, **settings)
    lot = torch.Generator().manual_seed(1)
    for _ in range(4):
        for weight in weights:
            weight.grad = torch.randn(weight.shape, generator=lot)
        found.step()
    return [weight.detach() for weight in weights]


def test_steps_are_those_of_torch() -> None:
    lot = torch.Generator().manual_seed(0)
    matrices = [torch.randn(shape, generator=lot) for shape in ((16, 8), (8, 16), (16, 8), (12, 12))]
    theirs = steps(torch.optim.Muon, matrices, adjust_lr_fn="match_rms_adamw")
    for ours, wanted, begun in zip(steps(Muon, matrices), theirs, matrices, strict=True):
        # Torch iterates in bfloat16, where each step is right to about a hundredth.
        assert (ours - wanted).norm() < 0.02 * (wanted - begun).norm()


@pytest.mark.parametrize("shape", [(3, 20, 10), (2, 10, 20)])
def test_singular_values_come_near_one_and_directions_stay(shape: tuple[int, ...]) -> None:
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(2))
    left, values, right = torch.linalg.svd(matrices, full_matrices=False)
    found = orthogonal(matrices).float()
    of_found = torch.linalg.svdvals(found)
    assert of_found.min() > 0.5
    assert of_found.max() < 1.3
    inside = left.mT @ found @ right.mT
    off = inside - torch.diag_embed(torch.diagonal(inside, dim1=-2, dim2=-1))
    assert off.abs().max() < 0.03
    assert values.max() > 2


def test_what_is_no_matrix_is_refused() -> None:
    with pytest.raises(ValueError, match="for matrices"):
        Muon([torch.nn.Parameter(torch.ones(3))], lr=0.1, weight_decay=0.0)
