"""The autoencoder f16c64: 16 x 16 pixels to one token of 64 channels, residual and without a random part.

Two layouts of one network. Ours, as the VAE-2.0 report has it (sec. 2): no attention, and a global skip that hands the
image's own pixels to the deepest layer. The release's (2.1): a shortcut past every halving and doubling, attention in the
middle (`release_config`). Where the report's global skip joins is not told: we add it before the
middle. Images are RGB or RGBA in -1..1. Latents are far from N(0, 1), so their statistics belong to the weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from flywheel.errors import FlywheelError
from model.layout import TOKEN_PX, whole_tokens
from model.pretrained import CONFIG, digest_of, filled, read_config, save_weights
from model.vae_blocks import ChannelNorm, Double, Halve, MidBlock, ResBlock, folded_to, grown, shrunk

Skip = Literal["global", "local", "none"]
CLASS_NAME = "AutoencoderKLQwenImage21"


@dataclass(frozen=True, slots=True, kw_only=True)
class VAEConfig:
    """`dim_mult` are widths of the stages, in `base_dim`; between stages the picture is halved. `temporal` (a flag a halving)
    is what the release keeps of a video network. Statistics are a number a channel; empty: none were taken yet.

    Raises ValueError where there are not five stages.
    """

    base_dim: int = 96
    decoder_base_dim: int = 144
    z_dim: int = 64
    dim_mult: tuple[int, ...] = (1, 2, 4, 8, 8)
    num_res_blocks: int = 2
    in_channels: int = 3
    out_channels: int = 3
    skip: Skip = "global"
    mid_attention: bool = False
    temporal: tuple[bool, ...] = (False, False, False, False)
    latents_mean: tuple[float, ...] = ()
    latents_std: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if 2 ** (len(self.dim_mult) - 1) != TOKEN_PX or len(self.temporal) != len(self.dim_mult) - 1:
            raise ValueError(f"a side of {TOKEN_PX} pixels a token takes five stages and four halvings")
        if self.skip not in ("global", "local", "none"):
            raise ValueError(f"skip is global, local or none, not {self.skip!r}")


def release_config(**changed: Any) -> VAEConfig:
    """The layout of 2.1's weights."""
    layout: dict[str, Any] = {
        "in_channels": 4,
        "out_channels": 4,
        "skip": "local",
        "mid_attention": True,
        "temporal": (False, True, True, True),
    }
    return VAEConfig(**{**layout, **changed})


class VAE(nn.Module):
    """`encode` to (B, z, H / 16, W / 16), `decode` to (B, C, H, W); the numbers in between are not normalised."""

    def __init__(self, config: VAEConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        # Of the release's mean and deviation only the mean is used: there is no random part.
        self.quant_conv = nn.Conv2d(2 * config.z_dim, 2 * config.z_dim, 1)
        self.post_quant_conv = nn.Conv2d(config.z_dim, config.z_dim, 1)
        self.decoder = Decoder(config)

    def encode(self, image_BCHW: Tensor) -> Tensor:
        """Raises ValueError for sides that are not whole tokens."""
        whole_tokens(*image_BCHW.shape[-2:])
        mean: Tensor = self.quant_conv(self.encoder(image_BCHW))[:, : self.config.z_dim]
        return mean

    def decode(self, latents_BZHW: Tensor) -> Tensor:
        """Not clamped: a loss must see what lies outside."""
        image: Tensor = self.decoder(self.post_quant_conv(latents_BZHW))
        return image

    def encoder_digest(self) -> str:
        """Of all that latents depend on."""
        return digest_of(nn.ModuleList([self.encoder, self.quant_conv]))

    @classmethod
    def load_pretrained(cls, folder: Path) -> Self:
        """From a folder as diffusers has them, ours or the release's. Raises FlywheelError, in one line."""
        read = read_config(folder, CLASS_NAME)
        try:
            config = _config_from(read)
        except (TypeError, KeyError, ValueError) as error:
            raise FlywheelError(f"{folder / CONFIG} is no config of this network: {error}") from error
        return filled(lambda: cls(config), folder)

    def save_pretrained(self, folder: Path, *, dtype: torch.dtype | None = None) -> None:
        """A folder that `load_pretrained` loads, and, in the release's layout, diffusers' pipelines."""
        save_weights(self.state_dict(), _config_to(self.config), folder, dtype=dtype)


class Encoder(nn.Module):
    def __init__(self, config: VAEConfig) -> None:
        super().__init__()
        widths = [config.base_dim * times for times in (1, *config.dim_mult)]
        self.skip = config.skip
        self.conv_in = nn.Conv2d(config.in_channels, widths[0], 3, padding=1)
        self.down_blocks = nn.ModuleList(
            Down(before, after, config, at) for at, (before, after) in enumerate(pairwise(widths))
        )
        self.mid_block = MidBlock(widths[-1], config.mid_attention)
        self.norm_out = ChannelNorm(widths[-1])
        self.conv_out = nn.Conv2d(widths[-1], 2 * config.z_dim, 3, padding=1)

    def forward(self, image_BCHW: Tensor) -> Tensor:
        x = self.conv_in(image_BCHW)
        for block in self.down_blocks:
            x = block(x)
        if self.skip == "global":
            x = x + folded_to(image_BCHW, x.shape[1], TOKEN_PX)
        out: Tensor = self.conv_out(silu(self.norm_out(self.mid_block(x))))
        return out


class Down(nn.Module):
    """A stage of the encoder; all but the last halve the picture."""

    def __init__(self, before: int, after: int, config: VAEConfig, at: int) -> None:
        super().__init__()
        self.halves = at < len(config.temporal)
        self.local, self.temporal = config.skip == "local", self.halves and config.temporal[at]
        self.resnets = nn.ModuleList(ResBlock(before if not i else after, after) for i in range(config.num_res_blocks))
        self.downsampler = Halve(after, self.temporal) if self.halves else None

    def forward(self, x_BCHW: Tensor) -> Tensor:
        x = x_BCHW
        for block in self.resnets:
            x = block(x)
        if self.downsampler is not None:
            x = self.downsampler(x)
        return x + shrunk(x_BCHW, x.shape[1], 2 if self.halves else 1, self.temporal) if self.local else x


class Decoder(nn.Module):
    def __init__(self, config: VAEConfig) -> None:
        super().__init__()
        widths = [config.decoder_base_dim * times for times in (config.dim_mult[-1], *reversed(config.dim_mult))]
        self.conv_in = nn.Conv2d(config.z_dim, widths[0], 3, padding=1)
        self.mid_block = MidBlock(widths[0], config.mid_attention)
        self.up_blocks = nn.ModuleList(
            Up(before, after, config, at) for at, (before, after) in enumerate(pairwise(widths))
        )
        self.norm_out = ChannelNorm(widths[-1])
        self.conv_out = nn.Conv2d(widths[-1], config.out_channels, 3, padding=1)

    def forward(self, latents_BZHW: Tensor) -> Tensor:
        x = self.mid_block(self.conv_in(latents_BZHW))
        for block in self.up_blocks:
            x = block(x)
        out: Tensor = self.conv_out(silu(self.norm_out(x)))
        return out


class Up(nn.Module):
    """A stage of the decoder, one residual block longer than the encoder's; all but the last double the picture."""

    def __init__(self, before: int, after: int, config: VAEConfig, at: int) -> None:
        super().__init__()
        self.doubles = at < len(config.temporal)
        self.local, self.temporal = config.skip == "local" and self.doubles, self.doubles and config.temporal[::-1][at]
        blocks = range(config.num_res_blocks + 1)
        self.resnets = nn.ModuleList(ResBlock(before if not i else after, after) for i in blocks)
        self.upsampler = Double(after, self.temporal) if self.doubles else None

    def forward(self, x_BCHW: Tensor) -> Tensor:
        x = x_BCHW
        for block in self.resnets:
            x = block(x)
        if self.upsampler is not None:
            x = self.upsampler(x)
        return x + grown(x_BCHW, x.shape[1], 2, self.temporal) if self.local else x


def _config_from(read: Mapping[str, Any]) -> VAEConfig:
    """Ours says its skip and attention; the release, which does not, has local shortcuts and attention."""
    if read.get("patch_size") is not None or read.get("attn_scales") or not read.get("is_residual", True):
        raise ValueError("patches, attention inside stages and stages without residuals are not of this network")
    names = ("base_dim", "decoder_base_dim", "z_dim", "num_res_blocks", "in_channels", "out_channels")
    lists = ("dim_mult", "latents_mean", "latents_std")
    held: dict[str, Any] = {name: read[name] for name in names} | {name: tuple(read[name]) for name in lists}
    return VAEConfig(
        **held,
        skip=read.get("skip", "local"),
        mid_attention=read.get("mid_attention", True),
        temporal=tuple(read["temperal_downsample"]),
    )


def _config_to(config: VAEConfig) -> dict[str, Any]:
    """In diffusers' words."""
    held = {name: getattr(config, name) for name in VAEConfig.__dataclass_fields__ if name not in ("temporal",)}
    if config.skip == "local" and config.mid_attention:
        del held["skip"], held["mid_attention"]
    return {
        "_class_name": CLASS_NAME,
        **held,
        "temperal_downsample": config.temporal,  # spelt so in diffusers
        "attn_scales": [],
        "is_residual": True,
        "patch_size": None,
        "scale_factor_spatial": TOKEN_PX,
    }
