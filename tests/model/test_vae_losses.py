"""The losses' goldens and margins, and metrics against numbers that can be worked out."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from model.vae_losses import Alignment, Weights, margin_cosine, margin_distances, perceptual, reconstruction
from model.vae_metrics import Quality, joined, psnr, quality


def test_goldens_of_the_alignment() -> None:
    torch.manual_seed(0)
    z, f = torch.randn(1, 4, 2, 2), torch.randn(1, 4, 2, 2)
    assert float(margin_distances(z, f, 0.25)) == pytest.approx(0.085689, abs=1e-6)
    assert float(margin_cosine(z, f, 0.5)) == pytest.approx(0.332673, abs=1e-6)
    assert float(margin_distances(f, f, 0.0)) == 0.0
    assert float(margin_cosine(f, f, 0.0)) == pytest.approx(0.0, abs=1e-6)


def test_wider_margins_cost_less_and_the_widest_nothing() -> None:
    torch.manual_seed(1)
    z, f = torch.randn(2, 8, 3, 3), torch.randn(2, 8, 3, 3)
    for loss in (margin_cosine, margin_distances):
        costs = [float(loss(z, f, margin)) for margin in (0.0, 0.2, 0.5, 2.0)]
        assert costs == sorted(costs, reverse=True)
        assert costs[-1] == 0.0


def test_the_projection_learns_to_align() -> None:
    torch.manual_seed(0)
    align, mixing = Alignment(6, 9), torch.randn(9, 6)
    latents = torch.randn(4, 6, 4, 4)
    features = torch.einsum("fz,bzhw->bfhw", mixing, latents)
    optimizer, losses = torch.optim.Adam(align.parameters(), 0.05), []
    for _ in range(200):
        loss = align(latents, features, Weights(align=1.0))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.05 < losses[0]


def test_pixels_count_as_the_weights_say() -> None:
    made, image = torch.zeros(1, 3, 2, 2), torch.full((1, 3, 2, 2), 0.5)
    assert float(reconstruction(made, image, Weights())) == 0.5
    assert float(reconstruction(made, image, Weights(l1=2.0, mse=4.0))) == 2.0
    assert float(reconstruction(made, image, Weights(l1=0.0))) == 0.0
    features = torch.randn(1, 5, 3, 3)
    assert float(perceptual(features, 3 * features)) == pytest.approx(0.0, abs=1e-6)
    assert float(perceptual(features, -features)) == pytest.approx(4.0)


def test_psnr_and_ssim() -> None:
    lot = torch.Generator().manual_seed(0)
    image = torch.rand(2, 3, 32, 32, generator=lot) * 1.8 - 0.9
    assert psnr(image + 0.02, image).tolist() == pytest.approx([20 * math.log10(2 / 0.02)] * 2, rel=1e-4)
    same, off = quality(image, image), quality(image + 0.3 * torch.randn(image.shape, generator=lot), image)
    assert same.ssim == pytest.approx(1.0, abs=1e-5)
    assert same.ned is None
    assert off.ssim < 0.95
    assert off.psnr < 20


def test_what_is_read_otherwise_counts() -> None:
    def written(words: str) -> torch.Tensor:
        canvas = Image.new("RGB", (64, 32), "white")
        ImageDraw.Draw(canvas).text((4, 8), words, fill="black")
        return torch.from_numpy(np.asarray(canvas).copy()).permute(2, 0, 1).float() / 127.5 - 1

    known = {
        np.asarray(
            Image.fromarray(((written(one).permute(1, 2, 0).numpy() + 1) * 127.5).round().astype("uint8"))
        ).tobytes(): one
        for one in ("STAR", "STAP", "")
    }
    images, made = torch.stack([written("STAR"), written("")]), torch.stack([written("STAP"), written("STAR")])
    found = quality(made, images, lambda picture: known[np.asarray(picture).tobytes()])
    assert found.ned == 0.75
    assert quality(made[1:], images[1:], lambda picture: known[np.asarray(picture).tobytes()]).ned is None


def test_parts_are_weighed_by_their_pictures() -> None:
    parts = [Quality(pictures=1, psnr=30, ssim=0.9, ned=None), Quality(pictures=3, psnr=34, ssim=0.98, ned=0.5)]
    assert joined(parts) == Quality(pictures=4, psnr=33, ssim=pytest.approx(0.96), ned=0.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no pictures"):
        joined([])
