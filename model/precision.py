"""Where and how precisely things are computed: on a GPU where there is one, in half precision where a device has units for it.

A CPU without such units takes ten times as long in bfloat16 as in float32.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import nn

CPU = torch.device("cpu")


def best_device() -> torch.device:
    """The first GPU, or the CPU."""
    return torch.device("cuda", 0) if torch.cuda.is_available() else CPU


@contextmanager
def placed(part: nn.Module, device: torch.device) -> Iterator[None]:
    """A part of a model on the device while it works, and back where it was: the parts of a large one need not fit together."""
    before = next(part.parameters()).device
    part.to(device)
    try:
        yield
    finally:
        part.to(before)


def is_half_fast(device: torch.device = CPU) -> bool:
    return device.type != "cpu" or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def computing(half: bool, device: torch.device = CPU) -> AbstractContextManager[None]:
    """Matrices in bfloat16, or all as it is."""
    return torch.autocast(device.type, torch.bfloat16) if half else nullcontext()
