"""MMDiT: the network of Qwen-Image-2.1, trained and sampled. Text and image tokens share one stream and all weights.

- every block is modulated by the same scales and gates, multiplicative and without bias; gates pass a tanh
- RMSNorm on queries and keys, LayerNorm without weights elsewhere, SwiGLU, no bias anywhere
- `causal_condition`: text and references are modulated as at t = 0 and, under the block-causal mask, never see the target,
  so that their keys and values are computed once for all steps of a sample (`PrefixCache`)

State-dict names are the release's. Shapes: B samples, L tokens of the whole sequence, N of the target, R of images (references,
then target), S of text, D width, H heads, K channels of a head, C latent channels, E channels of the condition encoder.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, silu
from torch.utils.checkpoint import checkpoint

from flywheel.errors import FlywheelError
from model.attention import attend, attend_in_blocks
from model.embeddings import TextProjection, TimeEmbedding
from model.layout import Image, Layout
from model.pretrained import CONFIG, SHARD, filled, read_config, save_weights
from model.rope import rope, turned

Mask = Literal["block_causal", "full"]
Kept = tuple[Tensor, Tensor]  # keys and values (B, H, P, K) of an earlier step
CLASS_NAME = "QwenImage21Transformer2DModel"


@dataclass(frozen=True, slots=True, kw_only=True)
class MMDiTConfig:
    """The defaults are the release's 7.1 B. `axes_dims_rope` are channels of a head for frame, height and width.

    `places`: the side of a table of learned places, stretched over every image; 0, as in the release: turns alone tell where
    a token stands. A network that learns in minutes learns in half of them with it (our choice; see docs/model.md).

    Raises ValueError for a mask that is none, and for axes that do not add up to a head.
    """

    in_channels: int = 64
    out_channels: int = 64
    num_layers: int = 32
    attention_head_dim: int = 128
    num_attention_heads: int = 32
    context_in_dim: int = 4096
    mlp_ratio: int = 3
    axes_dims_rope: tuple[int, int, int] = (16, 56, 56)
    eps: float = 1e-6
    causal_condition: bool = True
    mask: Mask = "block_causal"
    places: int = 0

    def __post_init__(self) -> None:
        if self.mask not in ("block_causal", "full"):
            raise ValueError(f"mask is block_causal or full, not {self.mask!r}")
        if sum(self.axes_dims_rope) != self.attention_head_dim or any(axis % 2 for axis in self.axes_dims_rope):
            raise ValueError(f"even axes that add up to {self.attention_head_dim} channels, not {self.axes_dims_rope}")

    @property
    def width(self) -> int:
        return self.num_attention_heads * self.attention_head_dim

    @property
    def caches(self) -> bool:
        """Whether text and references are the same at every step."""
        return self.causal_condition and self.mask == "block_causal"

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(slots=True)
class PrefixCache:
    """Of text and references, a pair a block. Empty before the first step."""

    blocks: list[Kept] = field(default_factory=list)


@dataclass(slots=True)
class _Pass:
    """What all blocks of one forward pass share. Scales and gates are (B, L, D)."""

    scales: tuple[Tensor, Tensor]
    gates: tuple[Tensor, Tensor]
    turns: Tensor  # (L, K / 2, 2): cosine and sine of every token's angles
    layout: Layout
    full: bool
    valid_BL: Tensor | None
    taken: list[Kept] | None  # of this step, where they are to be kept


class MMDiT(nn.Module):
    """Velocity of the target's latents. `checkpointing` computes every block twice and keeps none of its insides."""

    def __init__(self, config: MMDiTConfig) -> None:
        super().__init__()
        width = config.width
        self.config, self.checkpointing = config, False
        self.time_text_embed = TimeEmbedding(width)
        self.txt_in = TextProjection(config.context_in_dim, width, config.eps)
        self.img_in = nn.Linear(config.in_channels, width, bias=False)
        if config.places:
            self.img_places = nn.Parameter(torch.zeros(width, config.places, config.places))
        self.modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 4 * width, bias=False))
        self.transformer_blocks = nn.ModuleList(Block(config) for _ in range(config.num_layers))
        self.norm_out = ScaledNorm(width, config.eps)
        self.proj_out = nn.Linear(width, config.out_channels, bias=False)

    @classmethod
    def load_pretrained(cls, folder: Path) -> Self:
        """From a folder as diffusers has them. Raises FlywheelError, in one line, for what is none or does not fit."""
        read = read_config(folder, CLASS_NAME)
        if read.pop("patch_size", 1) != 1:
            raise FlywheelError(f"{folder} has patches of more than one latent; this network has none")
        try:
            config = MMDiTConfig(**{**read, "axes_dims_rope": tuple(read["axes_dims_rope"])})
        except (TypeError, KeyError, ValueError) as error:
            raise FlywheelError(f"{folder / CONFIG} is no config of this network: {error}") from error
        return filled(lambda: cls(config), folder)

    def save_pretrained(self, folder: Path, *, shard: str | int = SHARD, dtype: torch.dtype | None = None) -> None:
        """A folder that `load_pretrained` and diffusers' pipelines load. Only ours knows another mask, and places."""
        config = {"_class_name": CLASS_NAME, "patch_size": 1, **self.config.to_json()}
        for name, default in (("mask", "block_causal"), ("places", 0)):
            if config[name] == default:
                del config[name]
        save_weights(self.state_dict(), config, folder, shard=shard, dtype=dtype)

    def forward(
        self,
        latents_BRC: Tensor,
        context_BSE: Tensor,
        sigma_B: Tensor,
        layout: Layout,
        *,
        valid_BS: Tensor | None = None,
        cache: PrefixCache | None = None,
    ) -> Tensor:
        """(B, N, C): noise minus image. `latents_BRC` are the references' and the target's tokens, `context_BSE` text alone.

        `sigma_B` is 1 for noise, 0 for an image. `valid_BS` is False where text is padding. An empty `cache` is filled, a
        full one used. Raises ValueError where tensors do not fit the layout, or for a cache where none can be.
        """
        self._check(latents_BRC, context_BSE, layout, cache)
        cached = cache is not None and bool(cache.blocks)
        after = layout.prefix if cached else 0
        joint_BLD = (
            self._images(latents_BRC[:, -layout.target.tokens :], (layout.target,))
            if cached
            else self._joined(latents_BRC, context_BSE, layout)
        )
        temb = self._time(sigma_B, joint_BLD.dtype)
        turns = rope(layout.positions[after:], self.config.axes_dims_rope, joint_BLD.device)
        shared = self._shared(temb, turns, layout, valid_BS, cache, after)
        held = cache.blocks if cache is not None and after else [None] * len(self.transformer_blocks)
        for block, kept in zip(self.transformer_blocks, held, strict=True):
            if self.checkpointing and torch.is_grad_enabled():
                joint_BLD = checkpoint(block, joint_BLD, shared, kept, use_reentrant=False)
            else:
                joint_BLD = block(joint_BLD, shared, kept)
        if cache is not None and shared.taken is not None:
            cache.blocks = shared.taken
        target_BND = joint_BLD[:, layout.prefix - after :]
        out: Tensor = self.proj_out(self.norm_out(target_BND, temb[: len(latents_BRC)]))
        return out

    def _check(self, latents_BRC: Tensor, context_BSE: Tensor, layout: Layout, cache: PrefixCache | None) -> None:
        images, texts = len(layout.image_places), len(layout.text_places)
        if latents_BRC.shape[1] != images or context_BSE.shape[1] != texts:
            raise ValueError(
                f"the layout has {images} image and {texts} text tokens, "
                f"not {latents_BRC.shape[1]} and {context_BSE.shape[1]}"
            )
        if cache is not None and not self.config.caches:
            raise ValueError("text and references can be kept only with causal_condition and the block-causal mask")

    def _joined(self, latents_BRC: Tensor, context_BSE: Tensor, layout: Layout) -> Tensor:
        """Both in their places (B, L, D)."""
        images, texts = self._images(latents_BRC, layout.images), self.txt_in(context_BSE)
        places = torch.tensor((*layout.text_places, *layout.image_places), device=images.device)
        return torch.cat([texts, images], dim=1)[:, places.argsort()]

    def _images(self, latents_BRC: Tensor, images: Sequence[Image]) -> Tensor:
        """(B, R, D)."""
        entered: Tensor = self.img_in(latents_BRC)
        if not self.config.places:
            return entered
        table = self.img_places[None]
        stretched = [
            interpolate(table, (image.height, image.width), mode="bilinear", align_corners=False) for image in images
        ]
        return entered + torch.cat([one[0].flatten(1) for one in stretched], dim=1).T.to(entered.dtype)

    def _time(self, sigma_B: Tensor, dtype: torch.dtype) -> Tensor:
        """(B, D), and with `causal_condition` one row more: t = 0."""
        if self.config.causal_condition:
            sigma_B = torch.cat([sigma_B, sigma_B.new_zeros(1)])
        embedded: Tensor = self.time_text_embed(sigma_B, dtype)
        return embedded

    def _shared(
        self,
        temb: Tensor,
        turns: Tensor,
        layout: Layout,
        valid_BS: Tensor | None,
        cache: PrefixCache | None,
        after: int,
    ) -> _Pass:
        scale1, gate1, scale2, gate2 = self._spread(self.modulation(temb), layout, after).chunk(4, dim=-1)
        return _Pass(
            scales=(1 + scale1, 1 + scale2),
            gates=(gate1.tanh(), gate2.tanh()),
            turns=turns,
            layout=layout,
            full=self.config.mask == "full",
            valid_BL=None if valid_BS is None else _valid(valid_BS, layout),
            taken=[] if cache is not None and not after else None,
        )

    def _spread(self, rows: Tensor, layout: Layout, after: int) -> Tensor:
        """(B, L, …): the target's tokens by their sample's row, the prefix by the row of t = 0; (B, 1, …) where all are alike."""
        if not self.config.causal_condition or after:
            own = rows[:-1] if self.config.causal_condition else rows
            return own[:, None]
        prefix = rows[-1].expand(len(rows) - 1, layout.prefix, -1)
        return torch.cat([prefix, rows[:-1, None].expand(-1, layout.target.tokens, -1)], dim=1)


class Block(nn.Module):
    """Attention and SwiGLU, each on a scaled norm, each added through a gate."""

    def __init__(self, config: MMDiTConfig) -> None:
        super().__init__()
        self.img_norm1 = nn.LayerNorm(config.width, config.eps, elementwise_affine=False)
        self.attn = Attention(config)
        self.img_norm2 = nn.LayerNorm(config.width, config.eps, elementwise_affine=False)
        self.img_mlp = SwiGLU(config.width, config.mlp_ratio * config.width)

    def forward(self, x_BLD: Tensor, shared: _Pass, kept: Kept | None) -> Tensor:
        x_BLD = x_BLD + shared.gates[0] * self.attn(self.img_norm1(x_BLD) * shared.scales[0], shared, kept)
        x_BLD = x_BLD + shared.gates[1] * self.img_mlp(self.img_norm2(x_BLD) * shared.scales[1])
        # Activations of the release exceed float16 in rare tokens.
        return x_BLD.clip(-65504, 65504) if x_BLD.dtype == torch.float16 else x_BLD


class Attention(nn.Module):
    def __init__(self, config: MMDiTConfig) -> None:
        super().__init__()
        width, self.heads = config.width, config.num_attention_heads
        self.to_q, self.to_k, self.to_v = (nn.Linear(width, width, bias=False) for _ in range(3))
        self.to_out = nn.ModuleList([nn.Linear(width, width, bias=False)])
        self.norm_q = nn.RMSNorm(config.attention_head_dim, config.eps)
        self.norm_k = nn.RMSNorm(config.attention_head_dim, config.eps)

    def forward(self, x_BLD: Tensor, shared: _Pass, kept: Kept | None) -> Tensor:
        q, k, v = (
            to(x_BLD).unflatten(-1, (self.heads, -1)).transpose(1, 2) for to in (self.to_q, self.to_k, self.to_v)
        )
        q, k = turned(self.norm_q(q), shared.turns).to(v.dtype), turned(self.norm_k(k), shared.turns).to(v.dtype)
        if shared.taken is not None:
            prefix = shared.layout.prefix
            shared.taken.append((k[:, :, :prefix].clone(), v[:, :, :prefix].clone()))
        if kept is not None:
            k, v = torch.cat([kept[0], k], dim=2), torch.cat([kept[1], v], dim=2)
        if shared.full or kept is not None:
            allowed = None if shared.valid_BL is None else shared.valid_BL[:, None, None]
            mixed = attend(q, k, v, allowed)
        else:
            mixed = attend_in_blocks(q, k, v, shared.layout.segments, shared.valid_BL)
        out: Tensor = self.to_out[0](mixed.transpose(1, 2).flatten(2))
        return out


class SwiGLU(nn.Module):
    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.gate_layer = nn.Linear(width, inner, bias=False)
        self.proj = nn.Linear(width, inner, bias=False)
        self.out = nn.Linear(inner, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.out(silu(self.gate_layer(x)) * self.proj(x))
        return out


class ScaledNorm(nn.Module):
    """The last norm: a scale by the time, no shift."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.linear = nn.Linear(width, width, bias=False)
        self.norm = nn.LayerNorm(width, eps, elementwise_affine=False)

    def forward(self, x_BND: Tensor, temb_BD: Tensor) -> Tensor:
        out: Tensor = self.norm(x_BND) * (1 + self.linear(silu(temb_BD).to(x_BND.dtype)))[:, None]
        return out


def _valid(valid_BS: Tensor, layout: Layout) -> Tensor:
    """(B, L): padding of the prompt is not valid, all else is."""
    valid = torch.ones(len(valid_BS), layout.tokens, dtype=torch.bool, device=valid_BS.device)
    valid[:, list(layout.text_places)] = valid_BS.bool()
    return valid
