"""The linear autoencoder: its fit is PCA, untrained it is the mirrored map, and training leaves its latents alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from flywheel.errors import FlywheelError
from model.vae_linear import LinearVAE, LinearVAEConfig

SMALL = LinearVAEConfig(z_dim=6, width=32, blocks=1)


def images(number: int = 12) -> Tensor:
    """Smooth waves, of which a few directions tell most."""
    y, x = torch.meshgrid(torch.arange(32) / 32, torch.arange(48) / 48, indexing="ij")
    draw = torch.Generator().manual_seed(0)
    waves = [torch.sin(6 * (x * a + y * b) + c) for a, b, c in torch.rand(number, 3, generator=draw)]
    return torch.stack(waves)[:, None].expand(-1, 3, -1, -1) * torch.rand(number, 3, 1, 1, generator=draw)


@pytest.fixture
def fitted() -> LinearVAE:
    torch.manual_seed(0)
    vae = LinearVAE(SMALL)
    vae.fit(images())
    return vae


def test_the_fit_is_the_best_linear_one(fitted: LinearVAE) -> None:
    """Against numpy's singular values: no six directions leave a smaller error."""
    shown = images()
    patches = shown.unfold(2, 16, 16).unfold(3, 16, 16).permute(0, 2, 3, 1, 4, 5).reshape(-1, 768).double().numpy()
    singular = np.linalg.svd(patches - patches.mean(0), compute_uv=False)
    left = (singular[6:] ** 2).sum() / patches.size
    error = (fitted.decode(fitted.encode(shown)) - shown).square().mean().item()
    assert error == pytest.approx(left, rel=1e-3, abs=1e-9)
    latents = fitted.encode(shown)
    assert latents.shape == (12, 6, 2, 3)
    torch.testing.assert_close(latents.mean((0, 2, 3)), torch.tensor(fitted.config.latents_mean), atol=1e-4, rtol=0)
    # Half whitened: unit on the whole, with half of the differences between channels left.
    half, deviation = torch.tensor(fitted.config.latents_std), latents.permute(1, 0, 2, 3).flatten(1).std(1)
    torch.testing.assert_close(half.square() / half[0].square(), deviation / deviation[0], rtol=1e-3, atol=1e-5)
    normalised = (latents - torch.tensor(fitted.config.latents_mean).view(1, -1, 1, 1)) / half.view(1, -1, 1, 1)
    assert normalised.square().mean().item() == pytest.approx(1, abs=0.03)


def test_training_improves_the_picture_and_leaves_latents_alone(fitted: LinearVAE) -> None:
    shown = images()
    before, error = fitted.encode(shown), (fitted.decode(fitted.encode(shown)) - shown).square().mean().item()
    optimizer = torch.optim.Adam([weight for weight in fitted.parameters() if weight.requires_grad], lr=2e-3)
    for _ in range(60):
        optimizer.zero_grad()
        (fitted.decode(before) - shown).square().mean().backward()
        optimizer.step()
    assert (fitted.decode(before) - shown).square().mean().item() < 0.8 * error
    assert torch.equal(fitted.encode(shown), before)


def test_a_folder_brings_it_back(fitted: LinearVAE, tmp_path: Path) -> None:
    fitted.save_pretrained(tmp_path)
    again = LinearVAE.load_pretrained(tmp_path)
    assert again.config == fitted.config
    assert torch.equal(again.decode(again.encode(images())), fitted.decode(fitted.encode(images())))


def test_refusals(fitted: LinearVAE, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="multiples of 16 px, not 40 x 32"):
        fitted.encode(torch.zeros(1, 3, 32, 40))
    with pytest.raises(ValueError, match="was not fitted"):
        LinearVAE(SMALL).decode(torch.zeros(1, 6, 2, 2))
    (tmp_path / "config.json").write_text('{"_class_name": "FlywheelLinearAutoencoder"}')
    with pytest.raises(FlywheelError, match="no config of this network"):
        LinearVAE.load_pretrained(tmp_path)
