"""Parts of the autoencoder: residual blocks, halving and doubling, and the shortcuts that carry no weights.

State-dict names are the release's, which is a video network specialised to one frame; `temporal` is what is left of that:
maps that are stored and never used, and shortcuts that see an empty frame before the image. Shapes: B images, C channels, H, W.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import (
    interpolate,
    normalize,
    pad,
    pixel_shuffle,
    pixel_unshuffle,
    scaled_dot_product_attention,
    silu,
)


class ChannelNorm(nn.Module):
    """Each pixel's channels to length sqrt(C), times gamma. `ones` are the empty axes that gamma is stored with."""

    def __init__(self, channels: int, ones: int = 3) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(channels, *[1] * ones))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        wide = x_BCHW.float() if x_BCHW.dtype in (torch.float16, torch.bfloat16) else x_BCHW
        unit = normalize(wide, dim=1).to(x_BCHW.dtype)
        out: Tensor = unit * len(self.gamma) ** 0.5 * self.gamma.view(-1, 1, 1)
        return out


class ResBlock(nn.Module):
    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = ChannelNorm(before), nn.Conv2d(before, after, 3, padding=1)
        self.norm2, self.conv2 = ChannelNorm(after), nn.Conv2d(after, after, 3, padding=1)
        self.conv_shortcut = nn.Conv2d(before, after, 1) if before != after else nn.Identity()

    def forward(self, x_BCHW: Tensor) -> Tensor:
        inner = self.conv2(silu(self.norm2(self.conv1(silu(self.norm1(x_BCHW))))))
        out: Tensor = inner + self.conv_shortcut(x_BCHW)
        return out


class PixelAttention(nn.Module):
    """One head over all pixels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = ChannelNorm(channels, ones=2)
        self.to_qkv, self.proj = nn.Conv2d(channels, 3 * channels, 1), nn.Conv2d(channels, channels, 1)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        q, k, v = self.to_qkv(self.norm(x_BCHW)).flatten(2).transpose(1, 2)[:, None].chunk(3, dim=-1)
        mixed = scaled_dot_product_attention(q, k, v)[:, 0].transpose(1, 2).reshape(x_BCHW.shape)
        out: Tensor = x_BCHW + self.proj(mixed)
        return out


class MidBlock(nn.Module):
    def __init__(self, channels: int, attention: bool) -> None:
        super().__init__()
        self.attentions = nn.ModuleList([PixelAttention(channels)] if attention else [])
        self.resnets = nn.ModuleList(ResBlock(channels, channels) for _ in range(2))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        x_BCHW = self.resnets[0](x_BCHW)
        for attention in self.attentions:
            x_BCHW = attention(x_BCHW)
        out: Tensor = self.resnets[1](x_BCHW)
        return out


class Halve(nn.Module):
    def __init__(self, channels: int, temporal: bool) -> None:
        super().__init__()
        # Where the release has its parameter-free padding, an identity keeps the convolution's name.
        self.resample = nn.Sequential(nn.Identity(), nn.Conv2d(channels, channels, 3, stride=2))
        if temporal:
            self.time_conv = nn.Conv2d(channels, channels, 1)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        out: Tensor = self.resample(pad(x_BCHW, (0, 1, 0, 1)))
        return out


class Double(nn.Module):
    def __init__(self, channels: int, temporal: bool) -> None:
        super().__init__()
        self.resample = nn.Sequential(nn.Identity(), nn.Conv2d(channels, channels, 3, padding=1))
        if temporal:
            self.time_conv = nn.Conv2d(channels, 2 * channels, 1)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        larger = interpolate(x_BCHW.float(), scale_factor=2.0, mode="nearest-exact").to(x_BCHW.dtype)
        out: Tensor = self.resample(larger)
        return out


def shrunk(x_BCHW: Tensor, channels: int, factor: int, temporal: bool) -> Tensor:
    """The shortcut past halving: pixels to channels, then the mean of each group; an empty frame first where `temporal`."""
    batch, before, height, width = x_BCHW.shape
    folded = pixel_unshuffle(x_BCHW, factor).reshape(batch, before, -1, height // factor, width // factor)
    if temporal:
        folded = torch.cat([torch.zeros_like(folded), folded], dim=2)
    return _mean_of_groups(folded.flatten(1, 2), channels)


def grown(x_BCHW: Tensor, channels: int, factor: int, temporal: bool) -> Tensor:
    """The shortcut past doubling: channels repeated, then channels to pixels; of two frames the second."""
    batch, before, height, width = x_BCHW.shape
    frames = 2 if temporal else 1
    repeated = x_BCHW.repeat_interleave(channels * frames * factor * factor // before, dim=1)
    last = repeated.reshape(batch, channels, frames, -1, height, width)[:, :, -1]
    return pixel_shuffle(last.flatten(1, 2), factor)


def folded_to(x_BCHW: Tensor, channels: int, factor: int) -> Tensor:
    """The global skip: the image's own pixels as channels of the deepest layer, repeated and averaged to their number."""
    folded = pixel_unshuffle(x_BCHW, factor)
    common = math.lcm(folded.shape[1], channels)
    return _mean_of_groups(folded.repeat_interleave(common // folded.shape[1], dim=1), channels)


def _mean_of_groups(x_BCHW: Tensor, channels: int) -> Tensor:
    batch, _, height, width = x_BCHW.shape
    return x_BCHW.reshape(batch, channels, -1, height, width).mean(dim=2)
