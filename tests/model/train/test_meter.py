"""Work is counted as torch counts it; pace leaves the first step out."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from small_run import NETWORK
from torch.utils.flop_counter import FlopCounterMode

from model.layout import Image, Layout, edit, text_to_image
from model.mmdit import MMDiT
from model.train.meter import Meter, flops_of, peak_of
from model.train.task import Work

WIDE = replace(NETWORK, attention_head_dim=32, num_attention_heads=4, axes_dims_rope=(8, 12, 12), context_in_dim=64)


def written_out(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, attn_mask: torch.Tensor | None = None
) -> torch.Tensor:
    scores = q @ k.transpose(-1, -2)
    return (scores if attn_mask is None else scores.masked_fill(~attn_mask, float("-inf"))).softmax(-1) @ v


@pytest.mark.parametrize("layout", [text_to_image(24, 8, 8), edit([10, 14], [Image(6, 8)], Image(8, 8))])
@pytest.mark.parametrize("mask", ["block_causal", "full"])
def test_work_is_what_torch_counts(layout: Layout, mask: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Torch counts products of matrices, not what a CPU's own kernel for attention does.
    monkeypatch.setattr("model.attention.scaled_dot_product_attention", written_out)
    config = replace(WIDE, mask=mask)  # type: ignore[arg-type]
    network, tokens = MMDiT(config), len(layout.image_places)
    with FlopCounterMode(display=False) as counted:
        network(
            torch.randn(2, tokens, 4), torch.randn(2, len(layout.text_places), 64), torch.rand(2), layout
        ).sum().backward()
    # Ours leaves out the time's own maps, and counts of masked attention only what is in sight.
    assert flops_of(config, layout) * 2 == pytest.approx(counted.get_total_flops(), rel=0.05)


def test_pace_leaves_the_first_step_out(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("model.train.meter.time.monotonic", lambda: now[0])
    meter, work = Meter(10, torch.device("cpu"), workers=2), Work(samples=4, tokens=40, flops=1.0)
    now[0] += 50  # compiling
    meter.step(work, 30.0)
    assert meter.pace(1, 30.0) is None
    for _ in range(2):
        now[0] += 2
        meter.step(work, 30.0)
    pace = meter.pace(3, 31.0)
    assert pace is not None
    assert (pace.samples_s, pace.tokens_s, pace.left_s, pace.waited) == (4.0, 2 * 2 * 40 / 4, 14.0, 0.25)
    assert pace.mfu is None


def test_the_peak_is_the_dense_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA H100 80GB HBM3")
    assert peak_of(torch.device("cuda")) == 989e12
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "somebody's")
    assert peak_of(torch.device("cuda")) is None
    assert peak_of(torch.device("cpu")) is None
