"""Attention over the one sequence: the block-causal mask as a few plain calls, and the fastest way of each machine.

Shapes: B samples, H heads, Q queries, L keys, K channels of a head.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from model.layout import Segment


def attend(q_BHQK: Tensor, k_BHLK: Tensor, v_BHLK: Tensor, allowed: Tensor | None = None) -> Tensor:
    """(B, H, Q, K). `allowed` (broadcastable to B, H, Q, L) is True where a query may look; None: everywhere.

    bfloat16 on a CPU is written out: there the backward pass of torch's own takes several times as long.
    """
    if q_BHQK.device.type == "cpu" and q_BHQK.dtype == torch.bfloat16:
        return _written_out(q_BHQK, k_BHLK, v_BHLK, allowed)
    return scaled_dot_product_attention(q_BHQK, k_BHLK, v_BHLK, attn_mask=allowed)


def attend_in_blocks(
    q_BHLK: Tensor, k_BHLK: Tensor, v_BHLK: Tensor, segments: Sequence[Segment], valid_BL: Tensor | None
) -> Tensor:
    """The block-causal mask: each segment looks at all before its end, text never ahead; keys that are not valid are unseen.

    One call a segment, so that all but text after an image need no mask, which would rule out the fast kernels.
    """
    return torch.cat([_segment(q_BHLK, k_BHLK, v_BHLK, segment, valid_BL) for segment in segments], dim=2)


def _segment(q_BHLK: Tensor, k_BHLK: Tensor, v_BHLK: Tensor, segment: Segment, valid_BL: Tensor | None) -> Tensor:
    start, end = segment.start, segment.end
    q, k, v = q_BHLK[:, :, start:end], k_BHLK[:, :, :end], v_BHLK[:, :, :end]
    allowed = None if valid_BL is None else valid_BL[:, None, None, :end]
    if segment.causal:
        if start == 0 and allowed is None and q.device.type != "cpu":
            return scaled_dot_product_attention(q, k, v, is_causal=True)
        behind = torch.ones(end - start, end, dtype=torch.bool, device=q.device).tril(start)
        allowed = behind if allowed is None else behind & allowed
    return attend(q, k, v, allowed)


def _written_out(q: Tensor, k: Tensor, v: Tensor, allowed: Tensor | None) -> Tensor:
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
    if allowed is not None:
        scores = scores.masked_fill(~allowed, float("-inf"))
    mixed: Tensor = scores.softmax(-1, dtype=torch.float32).to(v.dtype) @ v
    return mixed
