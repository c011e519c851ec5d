"""Tiles give the whole's result: every number, at every border."""

from __future__ import annotations

import pytest
import torch

from model.vae import VAE, VAEConfig, release_config
from model.vae_linear import LinearVAE, LinearVAEConfig
from model.vae_tiling import decode_tiled, encode_tiled, halo_tokens

NARROW = {"base_dim": 4, "decoder_base_dim": 4, "z_dim": 4}


def picture(high: int, wide: int) -> torch.Tensor:
    return torch.rand(1, 3, high, wide, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.mark.parametrize(
    "skip", ["global", pytest.param("local", marks=pytest.mark.slow), pytest.param("none", marks=pytest.mark.slow)]
)
@torch.no_grad()
def test_tiles_are_the_whole(skip: str) -> None:
    torch.manual_seed(0)
    vae = VAE(VAEConfig(skip=skip, **NARROW)).eval()  # type: ignore[arg-type]
    image = picture(1024, 672)
    latents = vae.encode(image)
    torch.testing.assert_close(encode_tiled(vae, image, 20), latents, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(decode_tiled(vae, latents, 20), vae.decode(latents), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@torch.no_grad()
def test_with_less_around_them_they_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """The halo is needed: were it a quarter as wide, borders would show."""
    torch.manual_seed(0)
    vae = VAE(VAEConfig(**NARROW)).eval()  # type: ignore[arg-type]
    latents = vae.encode(picture(1024, 672))
    monkeypatch.setattr("model.vae_tiling.halo_tokens", lambda vae: halo // 4)
    halo = halo_tokens(vae)
    assert (decode_tiled(vae, latents, 20) - vae.decode(latents)).abs().max() > 1e-3


@torch.no_grad()
def test_the_miniatures_own_and_pictures_within_a_tile() -> None:
    torch.manual_seed(0)
    vae = LinearVAE(LinearVAEConfig(z_dim=8, width=16, blocks=1))
    vae.fit(torch.rand(8, 3, 64, 64) * 2 - 1)
    torch.nn.init.normal_(vae.branch.leave.weight)
    image = picture(160, 96)
    latents = vae.encode(image)
    torch.testing.assert_close(encode_tiled(vae, image, 3), latents)
    torch.testing.assert_close(decode_tiled(vae, latents, 3), vae.decode(latents))
    assert torch.equal(decode_tiled(vae, latents, 64), vae.decode(latents))


@torch.no_grad()
def test_attention_in_the_middle_leaves_borders_as_smooth_as_elsewhere() -> None:
    """The release's layout: not equal, but no seam: across a border pixels differ as much as beside it."""
    torch.manual_seed(0)
    vae = VAE(release_config(**{**NARROW, "in_channels": 3, "out_channels": 3})).eval()
    latents = vae.encode(picture(512, 1024))
    made = decode_tiled(vae, latents, 32)
    steps = (made[..., 1:] - made[..., :-1]).abs().mean(dim=(0, 1, 2))
    border = 32 * 16 - 1
    beside = torch.cat([steps[border - 64 : border : 16], steps[border + 16 : border + 80 : 16]])
    assert steps[border] < 1.5 * beside.mean()
