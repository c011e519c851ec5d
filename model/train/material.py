"""What a step is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from model.layout import Layout


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Material:
    """A batch made ready: normalised latents, and features of prompts as `model.sample.batched` gives them."""

    keys: tuple[str, ...]
    target_BNC: Tensor
    references_BRC: Tensor
    context_BSE: Tensor
    valid_BS: Tensor | None
    layout: Layout

    def to(self, device: torch.device) -> Self:
        tensors = (self.target_BNC, self.references_BRC, self.context_BSE)
        target, references, context = (one.to(device, non_blocking=True) for one in tensors)
        return type(self)(
            keys=self.keys,
            target_BNC=target,
            references_BRC=references,
            context_BSE=context,
            valid_BS=None if self.valid_BS is None else self.valid_BS.to(device, non_blocking=True),
            layout=self.layout,
        )
