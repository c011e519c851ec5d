"""The miniature's autoencoder: a linear map of 16 x 16 patches to 64 channels, and a decoder that corrects what it lost.

Both maps are found in closed form (PCA) before any training, which beat every convolutional autoencoder of this size that was
tried. The encoder stays as it is: latents never change, so that the decoder can be trained anew at any time without touching a
generator. The decoder adds to the mirrored map what the 3 x 3 neighbourhood of latents tells, from nothing at the beginning.

Principal components fall off steeply. What a generator makes is weighed between them as they are and all alike: each latent is
divided by the root of its deviation, times one number that makes them unit on the whole (half whitening; our choice after a trial
in which full whitening learned half as fast). That is what `latents_std` says; the decoder itself sees them fully whitened.

Shapes: B images, h and w in tokens, P numbers of a patch (pixels times channels), Z latent channels.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import pixel_shuffle, pixel_unshuffle, silu, unfold

from flywheel.errors import FlywheelError
from model.layout import TOKEN_PX, whole_tokens
from model.pretrained import CONFIG, digest_of, filled, read_config, save_weights

CLASS_NAME = "FlywheelLinearAutoencoder"


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearVAEConfig:
    """`width` and `blocks` are the decoder's branch. Statistics are a number a channel; empty: not fitted yet."""

    z_dim: int = 64
    in_channels: int = 3
    out_channels: int = 3
    width: int = 512
    blocks: int = 2
    latents_mean: tuple[float, ...] = ()
    latents_std: tuple[float, ...] = ()


class LinearVAE(nn.Module):
    """As `VAE`: images in -1..1, `encode` to (B, Z, h, w), `decode` back; fit it before training it."""

    def __init__(self, config: LinearVAEConfig) -> None:
        super().__init__()
        patch = config.in_channels * TOKEN_PX**2
        self.config = config
        self.fold = nn.Linear(patch, config.z_dim).requires_grad_(False)
        self.mirror = nn.Linear(config.z_dim, config.out_channels * TOKEN_PX**2)
        self.branch = Branch(config)

    @torch.no_grad()
    def fit(self, images_BCHW: Tensor) -> None:
        """The directions in which patches differ most, into both maps, and the latents' statistics into the config."""
        patches = _patches(images_BCHW).flatten(0, 2).double()
        mean = patches.mean(dim=0)
        centred = patches - mean
        _, directions = torch.linalg.eigh(centred.T @ centred / len(centred))
        basis = directions[:, -self.config.z_dim :].flip(1).T
        latents = centred @ basis.T
        self.fold.weight.copy_(basis)
        self.fold.bias.copy_(-basis @ mean)
        self.mirror.weight.copy_(basis.T)
        self.mirror.bias.copy_(mean)
        mean_Z, half_Z = latents.mean(dim=0), _half(latents.std(dim=0))
        self.config = replace(self.config, latents_mean=tuple(mean_Z.tolist()), latents_std=tuple(half_Z.tolist()))

    def encode(self, image_BCHW: Tensor) -> Tensor:
        """Raises ValueError for sides that are not whole tokens."""
        whole_tokens(*image_BCHW.shape[-2:])
        latents: Tensor = self.fold(_patches(image_BCHW)).permute(0, 3, 1, 2)
        return latents

    def decode(self, latents_BZHW: Tensor) -> Tensor:
        """Not clamped: a loss must see what lies outside."""
        mean, half = (torch.tensor(each, device=latents_BZHW.device) for each in self._statistics())
        last = latents_BZHW.permute(0, 2, 3, 1)
        patches = self.mirror(last) + self.branch((last - mean) / _whole(half))
        return pixel_shuffle(patches.permute(0, 3, 1, 2), TOKEN_PX)

    def encoder_digest(self) -> str:
        """Of all that latents depend on: a decoder trained anew changes none."""
        return digest_of(self.fold)

    def _statistics(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        if not self.config.latents_std:
            raise ValueError("this autoencoder was not fitted: its latents have no statistics")
        return self.config.latents_mean, self.config.latents_std

    @classmethod
    def load_pretrained(cls, folder: Path) -> Self:
        """Raises FlywheelError, in one line, for a folder of something else."""
        read = read_config(folder, CLASS_NAME)
        try:
            lists: dict[str, Any] = {name: tuple(read.pop(name)) for name in ("latents_mean", "latents_std")}
            config = LinearVAEConfig(**read, **lists)
        except (TypeError, KeyError) as error:
            raise FlywheelError(f"{folder / CONFIG} is no config of this network: {error}") from error
        return filled(lambda: cls(config), folder)

    def save_pretrained(self, folder: Path, *, dtype: torch.dtype | None = None) -> None:
        save_weights(self.state_dict(), {"_class_name": CLASS_NAME, **asdict(self.config)}, folder, dtype=dtype)


class Branch(nn.Module):
    """(B, h, w, Z) whitened to (B, h, w, P): residual layers on each token and its neighbours; the last map begins at zero."""

    def __init__(self, config: LinearVAEConfig) -> None:
        super().__init__()
        self.enter = nn.Linear(9 * config.z_dim, config.width)
        self.layers = nn.ModuleList(Layer(config.width) for _ in range(config.blocks))
        self.leave = nn.Linear(config.width, config.out_channels * TOKEN_PX**2)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)

    def forward(self, latents_BHWZ: Tensor) -> Tensor:
        batch, height, width, _ = latents_BHWZ.shape
        around = unfold(latents_BHWZ.permute(0, 3, 1, 2), 3, padding=1)
        x = self.enter(around.transpose(1, 2).reshape(batch, height, width, -1))
        for layer in self.layers:
            x = layer(x)
        out: Tensor = self.leave(silu(x))
        return out


class Layer(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.RMSNorm(width)
        self.first, self.second = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.second(silu(self.first(self.norm(x))))
        return out


def _patches(image_BCHW: Tensor) -> Tensor:
    """(B, h, w, P)."""
    return pixel_unshuffle(image_BCHW, TOKEN_PX).permute(0, 2, 3, 1)


def _half(deviation_Z: Tensor) -> Tensor:
    """What latents are divided by to be unit on the whole, with half the differences between channels left (in logarithms)."""
    return (deviation_Z * deviation_Z.mean()).sqrt()


def _whole(half_Z: Tensor) -> Tensor:
    """The deviations that `_half` was told."""
    return half_Z.square() / half_Z.square().mean().sqrt()
