"""The forward pass of Qwen3-VL for training on a CPU: the weights and the arithmetic of transformers' classes, for square
pictures of one size that begin every row.

Transformers computes positions row by row and attention image by image; here both are one tensor operation. A test holds
the results together. Attention is written out: in bfloat16 the fused kernel of CPUs is slower, backward most of all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import Qwen3VLForConditionalGeneration

Kept = tuple[Tensor, Tensor]  # keys and values of a layer


@dataclass(frozen=True, slots=True)
class Seen:
    """Pictures as tokens: (images, tokens, width), and what DeepStack adds to the first layers."""

    tokens: Tensor
    deep: tuple[Tensor, ...]


def see(model: Qwen3VLForConditionalGeneration, patches: Tensor) -> Seen:
    """patches: (images, grid * grid, values), as `patches.patchify` cuts them."""
    visual: Any = model.model.visual
    images, number, _ = patches.shape
    side = round(number**0.5)
    cos, sin, places = _vision_places(visual, side)
    weight = visual.patch_embed.proj.weight.flatten(1)
    hidden = torch.nn.functional.linear(patches, weight, visual.patch_embed.proj.bias)
    hidden = hidden + visual.pos_embed.weight[places]
    deep = []
    for at, block in enumerate(visual.blocks):
        normed = block.norm1(hidden)
        query, key, value = block.attn.qkv(normed).view(images, number, 3, block.attn.num_heads, -1).unbind(2)
        query, key = _rotated(query.transpose(1, 2), cos, sin), _rotated(key.transpose(1, 2), cos, sin)
        mixed = attention(query, key, value.transpose(1, 2), block.attn.scaling, None)
        hidden = hidden + block.attn.proj(mixed)
        hidden = hidden + block.mlp(block.norm2(hidden))
        if at in visual.deepstack_visual_indexes:
            merger = visual.deepstack_merger_list[visual.deepstack_visual_indexes.index(at)]
            deep.append(merger(hidden).view(images, -1, merger.linear_fc2.out_features))
    merged = visual.merger(hidden)
    return Seen(merged.view(images, -1, visual.merger.linear_fc2.out_features), tuple(deep))


def read(
    model: Qwen3VLForConditionalGeneration,
    ids: Tensor,
    seen: Seen | None = None,
    first: int | None = None,
    alike: int = 0,
) -> Tensor:
    """Hidden states (rows, length, width) before the final norm. Rows are padded on the right, which causality hides.

    With `seen` (a picture a row) the tokens from place `first` on are the picture's. The first `alike` tokens are the same
    in all rows: they are read once.
    """
    text: Any = model.model.language_model
    hidden = text.embed_tokens(ids)
    rows, length = ids.shape
    positions = torch.arange(length).expand(3, length)
    number, start = 0, 0
    if seen is not None:
        assert first is not None, "a row with a picture says where"
        number, start = seen.tokens.shape[1], first - alike
        hidden = torch.cat([hidden[:, :first], seen.tokens.to(hidden.dtype), hidden[:, first + number :]], 1)
        positions = _positions(length, first, round(number**0.5))
    cos, sin = (part[:, None] for part in text.rotary_emb(hidden, positions[:, None]))
    mask = torch.full((length, length), float("-inf")).triu(1)
    common, own, before = hidden[:1, :alike], hidden[:, alike:], None
    for at, layer in enumerate(text.layers):
        if alike:
            common, before = _through(layer, common, cos[:, :, :alike], sin[:, :, :alike], mask[:alike, :alike])
        own, _ = _through(layer, own, cos[:, :, alike:], sin[:, :, alike:], mask[alike:], before)
        if seen is not None and at < len(seen.deep):
            picture = own[:, start : start + number] + seen.deep[at].to(own.dtype)
            own = torch.cat([own[:, :start], picture, own[:, start + number :]], 1)
    return torch.cat([common.expand(rows, -1, -1), own], 1)


def _through(
    layer: Any, hidden: Tensor, cos: Tensor, sin: Tensor, mask: Tensor, before: Kept | None = None
) -> tuple[Tensor, Kept]:
    """The layer's output, and the keys and values of these tokens; `before`: those of the tokens that all rows begin with."""
    attending = layer.self_attn
    normed = layer.input_layernorm(hidden)
    rows, length, _ = hidden.shape
    shape = (rows, length, -1, attending.head_dim)
    query = _rotated(attending.q_norm(attending.q_proj(normed).view(shape)).transpose(1, 2), cos, sin)
    key = _rotated(attending.k_norm(attending.k_proj(normed).view(shape)).transpose(1, 2), cos, sin)
    value = attending.v_proj(normed).view(shape).transpose(1, 2)
    kept = key, value
    if before is not None:
        key, value = (
            torch.cat([first.expand(rows, -1, -1, -1), own], 2) for first, own in zip(before, kept, strict=True)
        )
    key, value = (part.repeat_interleave(attending.num_key_value_groups, 1) for part in (key, value))
    hidden = hidden + attending.o_proj(attention(query, key, value, attending.scaling, mask))
    return hidden + layer.mlp(layer.post_attention_layernorm(hidden)), kept


def attention(query: Tensor, key: Tensor, value: Tensor, scale: float, mask: Tensor | None) -> Tensor:
    """(rows, heads, length, head) each, to (rows, length, heads * head)."""
    scores = (query * scale) @ key.transpose(-1, -2)
    if mask is not None:
        scores = scores + mask.to(scores.dtype)
    mixed = scores.softmax(-1).to(value.dtype) @ value
    return mixed.transpose(1, 2).flatten(2)


def _rotated(values: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    first, second = values.chunk(2, -1)
    turned = torch.cat((-second, first), -1)
    return (values * cos + turned * sin).to(values.dtype)


def _positions(length: int, first: int, side: int) -> Tensor:
    """(3, length): time, row and column of every token, as Qwen3-VL counts them around a picture."""
    rows, columns = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    picture = first + torch.stack([torch.zeros(side * side, dtype=torch.long), rows.flatten(), columns.flatten()])
    before = torch.arange(first).expand(3, first)
    rest = length - first - side * side
    after = (first + side + torch.arange(rest)).expand(3, rest)
    return torch.cat([before, picture, after], 1)


def _vision_places(visual: Any, side: int) -> tuple[Tensor, Tensor, Tensor]:
    """cos, sin (patches, head) and the index of each patch's learned position, in the order of the merged patches."""
    merge = visual.spatial_merge_size
    grid = torch.arange(side * side).view(side // merge, merge, side // merge, merge).transpose(1, 2).flatten()
    places = torch.stack([grid // side, grid % side], -1)
    cos, sin = visual.rotary_pos_emb(visual.pos_embed.weight, places)
    return cos, sin, grid
