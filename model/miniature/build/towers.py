"""The forward pass of open_clip's towers for training on a CPU: its weights and its arithmetic, attention written out.

Its own way is fused attention, which is slow in bfloat16 on CPUs, or a safe softmax with as many operations around it as in
it; written out, a step of the contrast takes two thirds. A test holds the results together.
"""

from __future__ import annotations

from typing import Any

import open_clip
import torch
from torch import Tensor
from torch.nn.functional import linear

from model.miniature.build.forward import attention


def image_vectors(model: open_clip.CLIP, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """What `encode_image` gives, and the tokens of the patches: (pictures, embed), (pictures, patches, width)."""
    visual: Any = model.visual
    hidden = _through(visual.transformer, visual._embeds(pixels), None)
    pooled, tokens = visual._pool(hidden)
    return pooled @ visual.proj, tokens


def text_vectors(model: open_clip.CLIP, ids: Tensor) -> Tensor:
    """What `encode_text` gives, for texts that are not padded to the whole context."""
    length = ids.shape[1]
    hidden = model.token_embedding(ids) + model.positional_embedding[:length]
    hidden = model.ln_final(_through(model.transformer, hidden, model.attn_mask[:length, :length]))
    ends = (ids == model.text_eos_id).int().argmax(1)
    vectors: Tensor = hidden[torch.arange(len(ids)), ends] @ model.text_projection
    return vectors


def _through(transformer: Any, hidden: Tensor, mask: Tensor | None) -> Tensor:
    for block in transformer.resblocks:
        hidden = hidden + _attend(block.attn, block.ln_1(hidden), mask)
        hidden = hidden + block.mlp(block.ln_2(hidden))
    return hidden


def _attend(own: torch.nn.MultiheadAttention, hidden: Tensor, mask: Tensor | None) -> Tensor:
    rows, length, width = hidden.shape
    mixed = linear(hidden, own.in_proj_weight, own.in_proj_bias).view(rows, length, 3, own.num_heads, -1)
    query, key, value = (part.transpose(1, 2) for part in mixed.unbind(2))
    out: Tensor = own.out_proj(attention(query, key, value, (width // own.num_heads) ** -0.5, mask))
    return out
