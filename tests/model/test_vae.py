"""The autoencoder against diffusers' AutoencoderKLQwenImage21, weights copied across; and what ours adds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from flywheel.errors import FlywheelError
from model.vae import VAE, VAEConfig, release_config

diffusers = pytest.importorskip("diffusers", reason="the oracle is a test extra")

SMALL: dict[str, Any] = {"base_dim": 8, "decoder_base_dim": 12, "z_dim": 6, "num_res_blocks": 2}
STATISTICS: dict[str, Any] = {"latents_mean": [0.5] * 6, "latents_std": [2.0] * 6}
CLOSE = 1e-5


def apart(ours: Tensor, theirs: Tensor) -> float:
    return ((ours - theirs).abs().max() / theirs.abs().max()).item()


def release(channels: int = 4) -> tuple[VAE, Any]:
    torch.manual_seed(0)
    theirs = diffusers.AutoencoderKLQwenImage21(
        **SMALL, **STATISTICS, in_channels=channels, out_channels=channels
    ).eval()
    ours = VAE(release_config(**SMALL, in_channels=channels, out_channels=channels))
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize(("height", "width"), [(32, 32), (48, 80)])
def test_encoding_and_decoding_are_the_releases(channels: int, height: int, width: int) -> None:
    ours, theirs = release(channels)
    image = torch.rand(2, channels, height, width, generator=torch.Generator().manual_seed(1)) * 2 - 1
    with torch.no_grad():
        wanted = theirs.encode(image[:, :, None]).latent_dist.mode()[:, :, 0]
        latents = ours.encode(image)
        assert latents.shape == (2, 6, height // 16, width // 16)
        assert apart(latents, wanted) <= CLOSE
        decoded = theirs.decode(wanted[:, :, None]).sample[:, :, 0]
        assert apart(ours.decode(wanted).clamp(-1, 1), decoded) <= CLOSE


def test_gradients_are_the_releases() -> None:
    ours, theirs = release(3)
    image = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    (ours.decode(ours.encode(image)) * 0.1).square().sum().backward()
    encoded = theirs.encode(image[:, :, None]).latent_dist.mode()
    (theirs.decoder(theirs.post_quant_conv(encoded), first_chunk=True) * 0.1).square().sum().backward()
    twins = dict(theirs.named_parameters())
    for name, weight in ours.named_parameters():
        if "time_conv" in name:
            assert weight.grad is None
            continue
        assert weight.grad is not None
        assert apart(weight.grad, twins[name].grad) <= 1e-4, name  # sums of some thousand products, in another order


@pytest.mark.parametrize(
    ("config", "encoder", "decoder"),
    [
        (release_config(in_channels=3, out_channels=3), 78.67, 259.04),
        (release_config(), 78.68, 259.04),
        (VAEConfig(), 75.54, 247.75),
    ],
)
def test_sizes_are_the_reports(config: VAEConfig, encoder: float, decoder: float) -> None:
    with torch.device("meta"):
        network = VAE(config)

    def millions(part: torch.nn.Module) -> float:
        return sum(weight.numel() for weight in part.parameters()) / 1e6

    assert millions(network.encoder) == pytest.approx(encoder, abs=0.006)
    assert millions(network.decoder) == pytest.approx(decoder, abs=0.006)


def test_the_global_skip_hands_the_image_to_the_deepest_layer() -> None:
    torch.manual_seed(0)
    with_it = VAE(VAEConfig(**SMALL))
    without = VAE(VAEConfig(**SMALL, skip="none"))
    without.load_state_dict(with_it.state_dict())
    image = torch.rand(1, 3, 32, 32)
    assert apart(with_it.encode(image), without.encode(image)) > 1e-3
    for block in with_it.encoder.down_blocks:
        for weight in block.parameters():
            torch.nn.init.zeros_(weight)
    assert with_it.encode(image).std() > 1e-3  # nothing else lets the picture through


@pytest.mark.parametrize("config", [VAEConfig(**SMALL), VAEConfig(**SMALL, skip="none"), release_config(**SMALL)])
def test_a_folder_brings_the_network_back(tmp_path: Path, config: VAEConfig) -> None:
    torch.manual_seed(3)
    config = replace(config, latents_mean=(0.5,) * 6, latents_std=(2.0,) * 6)
    network = VAE(config)
    network.save_pretrained(tmp_path)
    again = VAE.load_pretrained(tmp_path)
    assert again.config == config
    assert all(torch.equal(one, two) for one, two in zip(network.parameters(), again.parameters(), strict=True))


def test_diffusers_reads_the_releases_layout_and_we_its(tmp_path: Path) -> None:
    _, theirs = release()
    theirs.save_pretrained(tmp_path / "theirs")
    again = VAE.load_pretrained(tmp_path / "theirs")
    assert again.config.latents_std == (2.0,) * 6
    again.save_pretrained(tmp_path / "ours")
    read = diffusers.AutoencoderKLQwenImage21.from_pretrained(tmp_path / "ours")
    assert all(torch.equal(one, two) for one, two in zip(theirs.parameters(), read.parameters(), strict=True))
    assert read.config.temperal_downsample == [False, True, True, True]
    assert read.config.latents_mean == [0.5] * 6


def test_what_does_not_fit_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="multiples of 16 px, not 40 x 32"):
        VAE(VAEConfig(**SMALL)).encode(torch.zeros(1, 3, 32, 40))
    with pytest.raises(ValueError, match="five stages"):
        VAEConfig(dim_mult=(1, 2))
    (tmp_path / "config.json").write_text('{"_class_name": "AutoencoderKLQwenImage21", "is_residual": false}')
    with pytest.raises(FlywheelError, match="not of this network"):
        VAE.load_pretrained(tmp_path)
