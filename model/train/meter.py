"""How fast: samples and tokens a second, what is left, and the share of the machine's peak that goes into the model (MFU).

Work is counted as the network needs it, forward and twice that backward: computing a block twice to save memory is no work.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch

from model.layout import Layout
from model.mmdit import MMDiTConfig
from model.train.task import Work

# Dense bfloat16 peaks in TFLOP/s, as their makers state them (without sparsity), by a part of the device's name.
_PEAKS = {"H200": 989, "H100": 989, "A100": 312, "L40S": 362, "RTX 5090": 209, "RTX 4090": 165, "RTX 3090": 71}


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """`mfu` None: the device's peak is not known. `waited`: share of the time that the trainer stood still for batches."""

    samples_s: float
    tokens_s: float
    left_s: float
    waited: float
    mfu: float | None


class Meter:
    """Tell it of every step; ask it now and then. The first step, which compiles, is left out."""

    def __init__(self, steps: int, device: torch.device, workers: int) -> None:
        self._steps, self._workers = steps, workers
        self._peak = peak_of(device)
        self._began: float | None = None
        self._counted, self._done, self._waited_from = 0, Work(), 0.0

    def step(self, work: Work, waited_s: float) -> None:
        """`work` of this worker in the step; `waited_s` since the run began."""
        if self._began is None:
            self._began, self._waited_from = time.monotonic(), waited_s
            return
        self._counted += 1
        self._done += work

    def pace(self, step: int, waited_s: float) -> Pace | None:
        """None before two steps are done."""
        if self._began is None or not self._counted:
            return None
        spent = max(time.monotonic() - self._began, 1e-9)
        return Pace(
            samples_s=self._done.samples * self._workers / spent,
            tokens_s=self._done.tokens * self._workers / spent,
            left_s=(self._steps - step) * spent / self._counted,
            waited=(waited_s - self._waited_from) / spent,
            mfu=None if self._peak is None else self._done.flops / spent / self._peak,
        )


def flops_of(config: MMDiTConfig, layout: Layout) -> float:
    """Floating point operations of training on one sample: 6 a weight and token, and attention over what is in sight."""
    prefix, target = layout.prefix, layout.target.tokens
    width, inner = config.width, config.mlp_ratio * config.width
    block = 4 * width * width + 3 * width * inner
    pairs = target * layout.tokens + (prefix * layout.tokens if config.mask == "full" else prefix * (prefix + 1) / 2)
    ends = len(layout.text_places) * (config.context_in_dim * width + width * width)
    ends += target * (config.in_channels + config.out_channels) * width
    return 6.0 * (config.num_layers * block * layout.tokens + ends) + 12.0 * config.num_layers * width * pairs


def peak_of(device: torch.device) -> float | None:
    """Operations a second that the device's maker states for dense bfloat16; None where we do not know."""
    if device.type != "cuda":
        return None
    name = torch.cuda.get_device_name(device)
    return next((tera * 1e12 for part, tera in _PEAKS.items() if part in name), None)
