"""An autoencoder's run: phases by step, squares by number, small print, and a folder that the rest of the program loads."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from small_model import write_pictures

from flywheel.errors import FlywheelError, UsageError
from flywheel.records import Budgets, Failure
from model.data.cropping import Square, cropped
from model.data.examples import offered
from model.data.framing import FrameContext
from model.data.small_print import written_over
from model.sample import load_autoencoder
from model.train.autoencoder import VAEReport, train_autoencoder
from model.train.recipe import Optimizer
from model.train.recipes import AUTOENCODER_RECIPES
from model.train.vae_loader import SquareLoader
from model.train.vae_recipe import Phase, VAERecipe
from model.vae import VAE, VAEConfig
from model.vae_features import features_from
from model.vae_linear import LinearVAE, LinearVAEConfig
from model.vae_losses import Weights
from pipelines.profiles import bundled_home

LINEAR: VAERecipe = replace(
    AUTOENCODER_RECIPES["miniature-vae"],
    network=LinearVAEConfig(z_dim=16, width=32, blocks=1),
    optimizer=Optimizer(lr=3e-3, warm_up=2),
    steps=20,
    pictures=8,
    save_every=10,
    show_every=10,
    phases=(Phase(share=1.0, side_px=64, weights=Weights(l1=0.0, mse=1.0)),),
)
STRICT = Weights(perceptual=0.5, align=0.5)


def silent(*arguments: object) -> None: ...


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("squares") / "data"
    write_pictures(folder, 24)
    for text in folder.glob("*.txt"):
        text.unlink()  # nobody has told of them
    (folder / "broken.png").write_bytes(b"no picture")
    return folder


def train(recipe: VAERecipe, data: Path, run: Path, **changed: object) -> VAEReport:
    settings = {"begin": None, "features": None, "resume": False, "watch": silent, **changed}
    return train_autoencoder(recipe, offered(data, captioned=False), run, **settings)  # type: ignore[arg-type]


def test_the_linear_one_is_fitted_then_trained(data: Path, tmp_path: Path) -> None:
    report = train(LINEAR, data, tmp_path / "run")
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert report.left_out == {"not_an_image": 1}
    assert sum(line["loss"] for line in lines[-5:]) < sum(line["loss"] for line in lines[:5])
    made = load_autoencoder(tmp_path / "run" / "vae")
    assert isinstance(made, LinearVAE)
    assert report.quality is not None
    assert report.quality.psnr > 15
    assert Image.open(tmp_path / "run" / "grids" / "step-00000020.png").width > 64
    with pytest.raises(UsageError, match="holds a run: give --resume"):
        train(LINEAR, data, tmp_path / "run")
    again = train(LINEAR, data, tmp_path / "run", resume=True)
    assert again.ended.loss is None
    for one, other in zip(made.parameters(), load_autoencoder(again.vae).parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.fixture(scope="module")
def dino(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers import Dinov2Config, Dinov2Model

    torch.manual_seed(0)
    config = Dinov2Config(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, image_size=64, patch_size=8)
    folder = tmp_path_factory.mktemp("dino")
    Dinov2Model(config).save_pretrained(folder)
    return folder


@pytest.mark.slow
def test_the_residual_one_goes_through_its_phases_and_ends_with_statistics(
    data: Path, dino: Path, tmp_path: Path
) -> None:
    network = VAEConfig(base_dim=4, decoder_base_dim=4, z_dim=4)
    phases = (
        Phase(share=0.5, side_px=32, weights=STRICT),
        Phase(share=0.5, side_px=64, weights=replace(STRICT, cosine_margin=0.5), written=1.0),
    )
    recipe = replace(LINEAR, network=network, phases=phases, steps=4, pictures=2)
    with pytest.raises(UsageError, match="give --features FOLDER"):
        train(recipe, data, tmp_path / "run")
    features = features_from(dino, torch.device("cpu"))
    report = train(recipe, data, tmp_path / "run", features=features)
    made = load_autoencoder(report.vae)
    assert isinstance(made, VAE)
    with SquareLoader(offered(data, captioned=False).examples, recipe) as loader, torch.no_grad():
        latents = torch.cat(
            [made.encode(loader(number, 3).image_BCHW).transpose(0, 1).flatten(1) for number in range(64)], 1
        )
        assert loader(0, 0).image_BCHW.shape[-1] == 32
        assert loader(0, 2).image_BCHW.shape[-1] == 64
    torch.testing.assert_close(torch.tensor(made.config.latents_mean), latents.mean(1), rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(torch.tensor(made.config.latents_std), latents.std(1), rtol=1e-3, atol=1e-4)
    with pytest.raises(FlywheelError, match="neither a DINOv2 nor an open_clip model"):
        features_from(tmp_path, torch.device("cpu"))


def test_the_bundled_clip_is_a_feature_net(data: Path, tmp_path: Path) -> None:
    features, channels = features_from(bundled_home() / "clip-miniature-1", torch.device("cpu"))
    image = torch.rand(2, 4, 64, 96, requires_grad=True)
    seen = features(image)
    assert seen.shape == (2, channels, 12, 12)
    (gradient,) = torch.autograd.grad(seen.square().sum(), image)
    assert (gradient[:, :3].abs().amax((1, 2, 3)) > 0).all()
    assert (gradient[:, 3] == 0).all()
    recipe = replace(LINEAR, phases=(Phase(share=1.0, side_px=64, weights=STRICT),), steps=3)
    report = train(recipe, data, tmp_path / "run", features=(features, channels))
    assert report.ended.steps == 3


def test_phases_take_their_share_from_the_source_of_much_text(data: Path, tmp_path: Path) -> None:
    write_pictures(tmp_path / "pages", 6)
    pages = [replace(one, key=f"page {one.key}") for one in offered(tmp_path / "pages").examples]
    phases = (
        Phase(share=0.5, side_px=32, weights=Weights()),
        Phase(share=0.5, side_px=32, weights=Weights(), text_rich=0.5),
    )
    recipe = replace(LINEAR, phases=phases)
    examples = offered(data, captioned=False).examples
    with SquareLoader(examples, recipe, pages) as loader, SquareLoader(examples, recipe) as without:
        assert loader(3, 2).keys == without(3, 2).keys
        later = [key for number in range(20) for key in loader(number, 12).keys]
    assert 0.35 < sum(key.startswith("page ") for key in later) / len(later) < 0.65


def test_an_ocr_tells_whether_text_survives(data: Path, tmp_path: Path) -> None:
    """One that reads how dark a picture is: nobody's letters, but letters."""
    report = train(
        LINEAR, data, tmp_path / "run", read=lambda picture: "x" * (1 + int(np.asarray(picture).mean()) // 8)
    )
    assert report.quality is not None
    assert report.quality.ned is not None
    assert 0.5 < report.quality.ned <= 1


def test_squares_follow_from_number_and_step_and_the_held_out_are_never_among_them(data: Path) -> None:
    examples = offered(data, captioned=False).examples
    recipe = replace(LINEAR, phases=(Phase(share=1.0, side_px=32, weights=Weights()),))
    with SquareLoader(examples, recipe) as one, SquareLoader(examples, recipe) as other:
        held = {sized.example.key for sized in one.held_out}
        seen = set[str]()
        for number in (3, 0, 7, 3, *range(10)):
            first, second = one(number, 5), other(number, 5)
            assert first.keys == second.keys
            assert torch.equal(first.image_BCHW, second.image_BCHW)
            seen |= set(first.keys)
        assert held
        assert seen == {example.key for example in examples} - held - {"broken.png"}
        assert not torch.equal(one(0, 5).image_BCHW, one(0, 6).image_BCHW)
        assert len(one.measured(32, 8)) == len(held)
    with pytest.raises(FlywheelError, match="no picture reaches 512 px"):
        SquareLoader(examples, replace(LINEAR, phases=(Phase(share=1.0, side_px=512, weights=Weights()),)))


def test_a_square_is_a_window_of_the_picture() -> None:
    import io

    ramp = np.stack([np.tile(np.arange(200, dtype=np.uint8), (100, 1))] * 3, axis=-1)
    held = io.BytesIO()
    Image.fromarray(ramp).save(held, "PNG")
    context = FrameContext(budgets=Budgets(), alpha=False)
    left, right, small = (
        cropped(Square(data=held.getvalue(), side_px=50, place=place, size=size), context)
        for place, size in (((0.0, 0.0), 0.0), ((1.0, 1.0), 0.0), ((0.0, 0.0), 1.0))
    )
    assert not isinstance(left, Failure)
    assert not isinstance(right, Failure)
    assert not isinstance(small, Failure)
    assert left.shape == (50, 50, 3)
    assert (int(left.min()), int(left.max())) == (pytest.approx(0, abs=3), pytest.approx(99, abs=3))
    assert (int(right.min()), int(right.max())) == (pytest.approx(100, abs=3), pytest.approx(199, abs=3))
    assert (small[..., 0] == ramp[:50, :50, 0]).all()
    assert isinstance(cropped(Square(data=b"x", side_px=50), context), Failure)


@pytest.mark.parametrize("ground", [20, 230])
def test_small_print_can_be_told_from_its_ground_and_keeps_its_size(ground: int) -> None:
    pixels = np.full((128, 128, 3), ground, np.uint8)
    written = written_over(pixels, (8, 8), np.random.default_rng(0)).astype(int)
    off = np.abs(written - ground).max(axis=-1)
    assert off.max() > 60
    assert 0.03 < (off > 40).mean() < 0.6
    lines = (off > 40).any(axis=1)
    runs = np.diff(np.flatnonzero(np.diff(np.concatenate([[0], lines.astype(int), [0]]))))[::2]
    assert runs.max() <= 12
    assert len(runs) >= 8


def test_phases_follow_one_another_and_are_a_whole() -> None:
    phases = tuple(Phase(share=share, side_px=32, weights=Weights()) for share in (0.25, 0.25, 0.5))
    recipe = replace(LINEAR, phases=phases, steps=8)
    told = [recipe.phase(step) is phases[at] for step, at in zip(range(8), (0, 0, 1, 1, 2, 2, 2, 2), strict=True)]
    assert all(told)
    for wrong in (
        phases[:2],
        (),
        (replace(phases[0], share=1.0, side_px=33),),
        (replace(phases[0], share=1.0, written=2.0),),
    ):
        with pytest.raises(ValueError, match=r"shares|multiples|from small"):
            replace(LINEAR, phases=wrong)
