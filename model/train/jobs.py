"""A run as something that can be handed to whoever runs it: this process, `torchrun`'s workers, Ray Train's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from flywheel.encoders.ocr import is_read, rapid_reader
from model.data.examples import Example, Offered
from model.train.autoencoder import train_autoencoder
from model.train.generator import train_generator
from model.train.recipe import Recipe
from model.train.run import Watch
from model.train.start import started
from model.train.vae_recipe import VAERecipe
from model.train.world import joined
from model.vae_metrics import Read

Watching = Callable[[bool], AbstractContextManager[Watch]]  # told whether this worker is the first


class Job(Protocol):
    @property
    def run(self) -> Path: ...

    def __call__(self, watching: Watching) -> dict[str, Any] | None:
        """In the world that the environment tells of. The first worker's report; None for all others."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratorJob:
    """`model`: the folder to begin with; None: the bundled one. Every worker must see `run` and `cache`."""

    recipe: Recipe
    model: Path | None
    found: Offered
    run: Path
    cache: Path
    resume: bool

    def __call__(self, watching: Watching) -> dict[str, Any] | None:
        with joined() as world, watching(world.is_first) as watch:
            recipe, base = started(self.recipe, self.model, world.device)
            report = train_generator(
                recipe, base, self.found, self.run, cache=self.cache, resume=self.resume, watch=watch, world=world
            )
        return report.to_json() if world.is_first else None


@dataclass(frozen=True, slots=True, kw_only=True)
class AutoencoderJob:
    """`begin`: a vae folder to go on from; `features`: a feature net's; `reads`: an OCR looks at held-out pictures."""

    recipe: VAERecipe
    found: Offered
    text_rich: Sequence[Example]
    reads: bool
    run: Path
    begin: Path | None
    features: Path | None
    resume: bool

    def __call__(self, watching: Watching) -> dict[str, Any] | None:
        from model.sample import load_autoencoder
        from model.vae_features import features_from

        with joined() as world, watching(world.is_first) as watch:
            report = train_autoencoder(
                self.recipe,
                self.found,
                self.run,
                begin=None if self.begin is None else load_autoencoder(self.begin),
                features=None if self.features is None else features_from(self.features, world.device),
                resume=self.resume,
                watch=watch,
                world=world,
                text_rich=self.text_rich,
                read=_reader() if self.reads else None,
            )
        return report.to_json() if world.is_first else None


def _reader() -> Read:
    """Every line that the bundled OCR can vouch for."""
    reader = rapid_reader()
    return lambda picture: "\n".join(line.text for line in reader.read(np.asarray(picture)).lines if is_read(line))
