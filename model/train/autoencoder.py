"""An autoencoder's run: from pictures to a folder with its latents' statistics. Checkpoints and curves as a generator's.

RUN/vae/        the averaged weights, as an image model's `vae` folder
RUN/grids/…     held-out pictures: as they are, and as they come back
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from flywheel.errors import UsageError
from model.data.examples import Example, Offered
from model.layout import TOKEN_PX
from model.pretrained import write_json
from model.sample import as_picture
from model.train.ahead import Ahead, by_steps
from model.train.grids import grid
from model.train.loop import Trainer
from model.train.run import FACTS, Ended, Watch, averaged, claim, follow, report_json
from model.train.task import Task, Work
from model.train.vae_loader import SquareLoader, Squares
from model.train.vae_recipe import VAERecipe
from model.train.world import ALONE, World, whole
from model.vae import VAE, VAEConfig
from model.vae_linear import LinearVAE
from model.vae_losses import Alignment, Features, perceptual, reconstruction
from model.vae_metrics import Quality, Read, quality

AUTOENCODER = "vae"
_FITTED_ON, _MEASURED_ON, _SHOWN = 64, 64, 4  # batches; pictures. Our choice


@dataclass(frozen=True, slots=True, kw_only=True)
class VAEReport:
    """`quality` on held-out pictures at the last phase's side; None where none reaches it."""

    run: Path
    vae: Path
    pictures: int
    left_out: Mapping[str, int]
    quality: Quality | None
    ended: Ended

    def to_json(self) -> dict[str, Any]:
        return report_json(self)


class Learner(nn.Module):
    """The autoencoder, and what its latents are aligned by, which is thrown away."""

    def __init__(self, vae: VAE | LinearVAE, feature_channels: int | None) -> None:
        super().__init__()
        self.vae = vae
        self.align = None if feature_channels is None else Alignment(vae.config.z_dim, feature_channels)

    def loss(self, recipe: VAERecipe, features: Features | None, image: Tensor, step: int) -> Tensor:
        weights = recipe.phase(step).weights
        latents = self.vae.encode(image)
        made = self.vae.decode(latents)
        total = reconstruction(made, image, weights)
        if features is None or not weights.sees:
            return total
        with torch.no_grad():
            wanted = features(image)
        if weights.perceptual:
            total = total + weights.perceptual * perceptual(features(made), wanted)
        if weights.align and self.align is not None:
            total = total + weights.align * self.align(latents, wanted, weights)
        return total


def train_autoencoder(
    recipe: VAERecipe,
    found: Offered,
    run: Path,
    *,
    begin: VAE | LinearVAE | None,
    features: tuple[Features, int] | None,
    resume: bool,
    watch: Watch,
    world: World = ALONE,
    text_rich: Sequence[Example] = (),
    read: Read | None = None,
) -> VAEReport:
    """`begin`: weights to go on from; None: new ones. `read`: an OCR, which says whether held-out text survives.

    Raises UsageError where the recipe needs a feature net and has none.
    """
    if features is None and any(phase.weights.sees for phase in recipe.phases):
        raise UsageError(
            f"recipe {recipe.name} looks through a feature net: give --features FOLDER (a DINOv2 or an open_clip model)"
        )
    claim(run, resume)
    side = recipe.phases[-1].side_px
    with SquareLoader(found.examples, recipe, text_rich) as loader:
        loader.left_out.update(found.left_out)
        learner = Learner(begin or _new(recipe, loader), None if features is None else features[1])
        held = loader.measured(side, _MEASURED_ON)
        ahead = Ahead(loader, by_steps(recipe.accumulate, world.size))
        try:
            trainer = Trainer(recipe, _task(learner, recipe, features), ahead, run, world)
            if world.is_first:
                write_json(run / FACTS, {"recipe": asdict(recipe), "digest": recipe.digest})
            ended = follow(trainer, ahead, world, watch, lambda: _shown(learner.vae, held))
        finally:
            ahead.close()
        with averaged(trainer):
            vae = _finished(learner, loader, recipe)
    if world.is_first:
        vae.save_pretrained(run / AUTOENCODER)
    world.wait()
    with torch.no_grad():
        measured = quality(vae.decode(vae.encode(held)), held, read) if len(held) else None
    return VAEReport(
        run=run,
        vae=run / AUTOENCODER,
        pictures=len(found.examples),
        left_out=dict(loader.left_out),
        quality=measured,
        ended=ended,
    )


def _new(recipe: VAERecipe, loader: SquareLoader) -> VAE | LinearVAE:
    """From the seed; the linear one from the first pictures."""
    torch.manual_seed(recipe.seed)
    if isinstance(recipe.network, VAEConfig):
        return VAE(recipe.network)
    vae = LinearVAE(recipe.network)
    vae.fit(torch.cat([loader(number, 0).image_BCHW for number in range(_FITTED_ON)]))
    return vae


def _task(learner: Learner, recipe: VAERecipe, features: tuple[Features, int] | None) -> Task:
    def loss(squares: Squares, step: int) -> Tensor:
        return learner.loss(recipe, None if features is None else features[0], squares.image_BCHW, step)

    def work(squares: Squares) -> Work:
        tokens = squares.image_BCHW[:, 0].numel() // TOKEN_PX**2
        return Work(samples=len(squares.keys), tokens=tokens)

    return Task(network=learner, loss=loss, work=work)


@torch.no_grad()
def _finished(learner: Learner, loader: SquareLoader, recipe: VAERecipe) -> VAE | LinearVAE:
    """A copy, whole and on the CPU, with its latents' statistics over pictures as the last step saw them."""
    state = {name: whole(weight).detach().cpu().clone() for name, weight in learner.vae.state_dict().items()}
    vae: VAE | LinearVAE
    if isinstance(learner.vae, LinearVAE):
        vae = LinearVAE(learner.vae.config)  # statistics were fitted with its maps
        vae.load_state_dict(state)
        return vae.eval()
    vae = VAE(learner.vae.config)
    vae.load_state_dict(state)
    latents = torch.cat(
        [
            vae.encode(loader(number, recipe.steps - 1).image_BCHW).transpose(0, 1).flatten(1)
            for number in range(_FITTED_ON)
        ],
        dim=1,
    )
    mean, deviation = latents.mean(dim=1), latents.std(dim=1)
    vae.config = replace(vae.config, latents_mean=tuple(mean.tolist()), latents_std=tuple(deviation.tolist()))
    return vae.eval()


@torch.no_grad()
def _shown(vae: VAE | LinearVAE, held: Tensor) -> Image.Image | None:
    if not len(held):
        return None
    shown = held[:_SHOWN].to(next(vae.parameters()).device)
    pairs = zip(shown, vae.decode(vae.encode(shown)), strict=True)
    return grid([as_picture(one) for pair in pairs for one in pair])
