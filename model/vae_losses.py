"""What an autoencoder is trained with: pixels, what a frozen network sees in them, and latents that mean something.

    L = l1 |x - x'| + mse (x - x')^2 + perceptual P(x, x') + align (L_mcos + L_mdms)

No adversary and no KL (VAE-2.0 report, sec. 3). Which layer sees, weights and margins are not told: VA-VAE's margins are our
choice. Feature nets are injected: full size takes a middle layer of DINOv2-L, the miniature one of its CLIP tower.
Shapes: B images, Z latent channels, F channels of features, N places of the latent grid.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, normalize, relu

Features = Callable[[Tensor], Tensor]  # (B, 3, H, W) in -1..1 -> (B, F, h, w), of one middle layer


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """Of the losses. Margins: how far a latent may be from what the features say and cost nothing; looser as training goes on."""

    l1: float = 1.0
    mse: float = 0.0
    perceptual: float = 0.0
    align: float = 0.0
    cosine_margin: float = 0.0
    distance_margin: float = 0.0

    @property
    def sees(self) -> bool:
        """Whether a feature net is asked."""
        return self.perceptual > 0 or self.align > 0


class Alignment(nn.Module):
    """A linear map from latents to a feature net's channels, trained with the autoencoder and thrown away after."""

    def __init__(self, latent_channels: int, feature_channels: int) -> None:
        super().__init__()
        self.project = nn.Conv2d(latent_channels, feature_channels, 1, bias=False)

    def forward(self, latents_BZHW: Tensor, features_BFhw: Tensor, weights: Weights) -> Tensor:
        """L_mcos + L_mdms; features are brought to the latents' grid."""
        seen = interpolate(features_BFhw, size=latents_BZHW.shape[-2:], mode="bilinear", antialias=True)
        projected = self.project(latents_BZHW)
        return margin_cosine(projected, seen, weights.cosine_margin) + margin_distances(
            projected, seen, weights.distance_margin
        )


def margin_cosine(z_BFHW: Tensor, f_BFHW: Tensor, margin: float) -> Tensor:
    """Each place's latent points where its feature does, to within the margin."""
    cosine = (normalize(z_BFHW, dim=1) * normalize(f_BFHW, dim=1)).sum(dim=1)
    return relu(1 - cosine - margin).mean()


def margin_distances(z_BFHW: Tensor, f_BFHW: Tensor, margin: float) -> Tensor:
    """Places are as like one another in latents as in features, to within the margin."""
    return relu((_alike(z_BFHW) - _alike(f_BFHW)).abs() - margin).mean()


def perceptual(seen_BFhw: Tensor, wanted_BFhw: Tensor) -> Tensor:
    """As LPIPS, without its learned weights: squared distance of features, each place's of length one."""
    return (normalize(seen_BFhw, dim=1) - normalize(wanted_BFhw, dim=1)).square().sum(dim=1).mean()


def reconstruction(made: Tensor, image: Tensor, weights: Weights) -> Tensor:
    off = made.float() - image.float()
    total = weights.l1 * off.abs().mean() if weights.l1 else off.new_zeros(())
    return total + weights.mse * off.square().mean() if weights.mse else total


def _alike(x_BFHW: Tensor) -> Tensor:
    """(B, N, N): cosines of all pairs of places."""
    places = normalize(x_BFHW.flatten(2), dim=1)
    return torch.einsum("bfn,bfm->bnm", places, places)
