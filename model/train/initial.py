"""Weights of a network that is trained from nothing. The release does not tell its own: all of this is our choice.

Matrices by their fan-in; learned places apart from one another; what a block adds is small at first, what leaves the network is
zero. Gates begin half open and the same at every time: with the usual zeros nothing inside a block learns before its gate has,
which a small budget cannot spare.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from model.mmdit import MMDiT

_ADDED = 0.02  # deviation of the maps that end a branch
_APART = 0.3  # of learned places: beside what enters of an image, which is about 1
_OPEN = 0.5
_LAST = ("proj_out.weight", "norm_out.linear.weight", "modulation.1.weight")
_BRANCH_ENDS = ("to_out.0.weight", "img_mlp.out.weight")


@torch.no_grad()
def initialised(network: MMDiT, seed: int) -> MMDiT:
    """In place, from the seed alone."""
    lot = torch.Generator().manual_seed(seed)
    for name, weight in network.named_parameters():
        if name.endswith(_LAST):
            nn.init.zeros_(weight)
        elif name == "img_places":
            nn.init.normal_(weight, std=_APART, generator=lot)
        elif weight.ndim == 2:
            nn.init.normal_(
                weight, std=_ADDED if name.endswith(_BRANCH_ENDS) else weight.shape[1] ** -0.5, generator=lot
            )
    _open_gates(network)
    return network


def _open_gates(network: MMDiT) -> None:
    """The rows of both gates, so that each is the same at all times: by least squares over the time's embedding."""
    width = network.config.width
    embedding: Tensor = network.time_text_embed(torch.linspace(0, 1, 1001), torch.float32)
    seen = silu(embedding).double()
    ridge = 0.01 * seen.square().mean() * len(seen) * torch.eye(width, dtype=torch.float64)
    row = torch.linalg.solve(seen.T @ seen + ridge, seen.sum(dim=0))
    modulation = network.get_parameter("modulation.1.weight")
    for gate in (modulation[width : 2 * width], modulation[3 * width :]):
        gate.copy_((math.atanh(_OPEN) * row).float().expand(width, width))
