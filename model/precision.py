"""Half precision where a device has units for it. A CPU without them takes ten times as long in bfloat16 as in float32."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch

CPU = torch.device("cpu")


def is_half_fast(device: torch.device = CPU) -> bool:
    return device.type != "cpu" or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def computing(half: bool, device: torch.device = CPU) -> AbstractContextManager[None]:
    """Matrices in bfloat16, or all as it is."""
    return torch.autocast(device.type, torch.bfloat16) if half else nullcontext()
