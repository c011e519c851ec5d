"""Flow matching: one convention everywhere, for training and for sampling.

    sigma = 1 is noise, 0 an image      x = (1 - sigma) * image + sigma * noise      velocity = noise - image

A sigma is drawn logit-normal and shifted towards noise, the more so the more tokens an image has; sampling takes Euler steps
over explicit sigmas, stretched to end at `terminal` before zero. The report gives no distribution for training (our choice:
logit-normal of mean 0 and deviation 1); shifts and `terminal` are those of the release's scheduler.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor

Weighting = Literal["none", "cosmap", "sigma_sqrt"]
Velocity = Callable[[Tensor, float], Tensor]  # latents and sigma -> velocity


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """`shift` is between `base_shift` at `base_tokens` and `max_shift` at `max_tokens`, in logarithms, and goes on beyond.

    `terminal` None: sampling's sigmas are not stretched. Raises ValueError for a weighting that is none.
    """

    mean: float = 0.0
    deviation: float = 1.0
    base_shift: float = 0.5
    max_shift: float = 0.9
    base_tokens: int = 256
    max_tokens: int = 8192
    terminal: float | None = 0.02
    weighting: Weighting = "none"

    def __post_init__(self) -> None:
        if self.weighting not in ("none", "cosmap", "sigma_sqrt"):
            raise ValueError(f"weighting is none, cosmap or sigma_sqrt, not {self.weighting!r}")

    def mu(self, tokens: int) -> float:
        """The shift's logarithm for so many tokens of the target."""
        slope = (self.max_shift - self.base_shift) / (self.max_tokens - self.base_tokens)
        return self.base_shift + slope * (tokens - self.base_tokens)

    def sigmas_for_training(self, normal_B: Tensor, tokens: int) -> Tensor:
        """(B,), from standard normal numbers: who draws them decides what they depend on."""
        return shifted(torch.sigmoid(self.mean + self.deviation * normal_B), self.mu(tokens))

    def weights(self, sigma_B: Tensor) -> Tensor:
        """(B,), of each sample's squared error."""
        if self.weighting == "cosmap":
            return 2 / (math.pi * (1 - 2 * sigma_B + 2 * sigma_B**2))
        return sigma_B**-2 if self.weighting == "sigma_sqrt" else torch.ones_like(sigma_B)

    def schedule(self, steps: int, tokens: int) -> tuple[float, ...]:
        """`steps` + 1 sigmas from 1 to 0. Raises ValueError for less than one step."""
        if steps < 1:
            raise ValueError(f"sampling takes at least one step, not {steps}")
        even = torch.linspace(1, 1 / steps, steps, dtype=torch.float64)
        sigmas = shifted(even, self.mu(tokens))
        if self.terminal is not None and steps > 1:
            sigmas = 1 - (1 - sigmas) * (1 - self.terminal) / (1 - sigmas[-1])
        return (*sigmas.tolist(), 0.0)


def shifted(sigma: Tensor, mu: float) -> Tensor:
    """Towards noise for mu > 0: the odds of sigma times e^mu."""
    shift = math.exp(mu)
    return shift * sigma / (1 + (shift - 1) * sigma)


def noised(image: Tensor, noise: Tensor, sigma_B: Tensor) -> Tensor:
    """(B, …) between image and noise."""
    sigma = sigma_B.view(-1, *[1] * (image.ndim - 1))
    return (1 - sigma) * image + sigma * noise


def flow_loss(velocity: Tensor, image: Tensor, noise: Tensor, weight_B: Tensor) -> Tensor:
    """(B,): each sample's weighted mean squared error, in float32."""
    return weight_B * (velocity.float() - (noise - image).float()).square().flatten(1).mean(dim=1)


def guided(conditional: Tensor, unconditional: Tensor, scale: float) -> Tensor:
    """Classifier-free guidance: 1 is the condition alone, 0 none of it."""
    return unconditional + scale * (conditional - unconditional)


def euler(velocity: Velocity, noise: Tensor, sigmas: Sequence[float]) -> Tensor:
    """Follow a velocity from noise to an image, one call a step. In float32 whatever the network computes in."""
    latents = noise.float()
    for sigma, following in pairwise(sigmas):
        latents = latents + (following - sigma) * velocity(latents, sigma).float()
    return latents
