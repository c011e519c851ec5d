"""Large pictures through an autoencoder in tiles, with the result of the whole.

Every tile is computed with as much around it as its pixels depend on (`halo_tokens`), and only its own part is kept: no seam,
nothing blended. Attention in the middle sees the whole picture, which a tile does not: there the result is near, not equal.
Memory follows the tile, not the picture.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from model.layout import TOKEN_PX
from model.vae import VAE, VAEConfig
from model.vae_linear import LinearVAE

TILE_TOKENS = 64  # 1024 px. Our choice


@dataclass(frozen=True, slots=True)
class Span:
    """Along one side, in tokens: what is kept (`start` to `end`), and what is computed for it (`first` to `last`)."""

    start: int
    end: int
    first: int
    last: int


@torch.no_grad()
def encode_tiled(vae: VAE | LinearVAE, image_BCHW: Tensor, tile_tokens: int = TILE_TOKENS) -> Tensor:
    return _tiled(vae.encode, image_BCHW, TOKEN_PX, 1, tile_tokens, halo_tokens(vae))


@torch.no_grad()
def decode_tiled(vae: VAE | LinearVAE, latents_BZHW: Tensor, tile_tokens: int = TILE_TOKENS) -> Tensor:
    return _tiled(vae.decode, latents_BZHW, 1, TOKEN_PX, tile_tokens, halo_tokens(vae))


def halo_tokens(vae: VAE | LinearVAE) -> int:
    """How many tokens away a pixel may be and still count, on either side."""
    if isinstance(vae, LinearVAE):
        return 1
    return max(_encoder_reach(vae.config), _decoder_reach(vae.config))


def _encoder_reach(config: VAEConfig) -> int:
    """Convolutions 3 x 3, each a pixel of its own resolution; halving looks a pixel further."""
    stages = len(config.dim_mult)
    reach = 1 + sum((1 << at) * (2 * config.num_res_blocks + 1) for at in range(stages))
    reach += TOKEN_PX * (4 + 1)  # the middle's two blocks, and the convolution that ends it
    return -(-reach // TOKEN_PX)


def _decoder_reach(config: VAEConfig) -> int:
    stages = len(config.dim_mult)
    blocks = 2 * (config.num_res_blocks + 1)
    reach = 1.0 + 4  # in tokens: the first convolution and the middle's two blocks
    reach += sum((blocks + 1) / 2**at for at in range(stages))  # doubling, or at last the end, is one convolution more
    return int(reach) + 1


def _tiled(
    through: Callable[[Tensor], Tensor], x_BCHW: Tensor, unit: int, out_unit: int, tile: int, halo: int
) -> Tensor:
    """`unit`: what a token is of the input's pixels, `out_unit` of the output's."""
    high, wide = (side // unit for side in x_BCHW.shape[-2:])
    if high <= tile and wide <= tile:
        return through(x_BCHW)
    rows = []
    for down in _spans(high, tile, halo):
        row = []
        for across in _spans(wide, tile, halo):
            part = x_BCHW[..., down.first * unit : down.last * unit, across.first * unit : across.last * unit]
            made = through(part)
            row.append(made[..., _own(down, out_unit), _own(across, out_unit)])
        rows.append(torch.cat(row, dim=-1))
    return torch.cat(rows, dim=-2)


def _spans(side: int, tile: int, halo: int) -> Iterator[Span]:
    for start in range(0, side, tile):
        end = min(start + tile, side)
        yield Span(start, end, max(0, start - halo), min(side, end + halo))


def _own(span: Span, unit: int) -> slice:
    return slice((span.start - span.first) * unit, (span.end - span.first) * unit)
