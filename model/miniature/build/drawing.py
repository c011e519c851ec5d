"""The bundled image model: autoencoder and generator, trained on what the world offers by the program's own trainer.

Weights are shipped in float16. They are rounded to it as soon as they are trained, so that what is built on them is built on what
is shipped.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from model.condition import ConditionEncoder
from model.miniature.build.curves import Curve, curve
from model.miniature.build.offer import SIDE_PX, offer
from model.mmdit import MMDiT
from model.sample import ImageModel, Sampling
from model.train.autoencoder import AUTOENCODER, train_autoencoder
from model.train.generator import MODEL, train_generator
from model.train.initial import initialised
from model.train.recipes import AUTOENCODER_RECIPES, RECIPES
from model.train.run import Watch
from model.vae_linear import LinearVAE

SHIPPED = torch.float16
_SEEN = 16_000  # pictures for the autoencoder; then those with prompts, and edits, for the generator. Our choice
_PICTURES, _EDITS = 40_000, 9_000
_SAYS_EVERY = 50  # steps
_POINTS = 8  # of a curve
Say = Callable[[str], None]
Network = TypeVar("Network", bound=nn.Module)


class DrawingBuilder:
    """One seed, one folder: states to go on from lie in it. `home` is the model's: its condition encoder is there already."""

    def __init__(self, folder: Path, home: Path, seed: int, say: Say) -> None:
        self._folder, self._home, self._seed, self._say = folder, home, seed, say
        self._spent = folder / "cpu_s.json"
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def cpu_s(self) -> Mapping[str, float]:
        """Of each part, over all goes at it."""
        read: dict[str, float] = json.loads(self._spent.read_text()) if self._spent.exists() else {}
        return read

    def write(self) -> ImageModel:
        """Train what is not trained yet, and write all of the model to its home."""
        model = self._generator(self._autoencoder())
        model.save_pretrained(self._home, dtype=SHIPPED)
        return model

    def curve(self, model: ImageModel, number: int) -> Curve:
        """What its checkpoints draw."""
        return curve(self._folder / "generator", model, number, "gate", _POINTS)

    def _generator(self, vae: LinearVAE) -> ImageModel:
        condition = ConditionEncoder(self._home / "text_encoder", self._home / "processor")
        usual = RECIPES["miniature"]
        recipe = replace(usual, seed=self._seed, keep=usual.steps)  # all checkpoints: the curves are made of them
        base = ImageModel(
            condition=condition,
            network=initialised(MMDiT(recipe.network), recipe.seed),
            vae=vae,
            flow=recipe.flow,
            sampling=Sampling(width_px=SIDE_PX, height_px=SIDE_PX, steps=10, guidance=2.5),
        )
        run = self._folder / "generator"
        with self._counted("generator"):
            train_generator(
                recipe,
                base,
                offer(_PICTURES, _EDITS, self._seed),
                run,
                cache=self._folder / "cache",
                resume=True,
                watch=self._watch,
            )
        network = MMDiT.load_pretrained(run / MODEL / "transformer")
        return replace(base, network=_rounded(network).eval())

    def _autoencoder(self) -> LinearVAE:
        run = self._folder / "autoencoder"
        recipe = replace(AUTOENCODER_RECIPES["miniature-vae"], seed=self._seed)
        with self._counted("autoencoder"):
            train_autoencoder(
                recipe, offer(_SEEN, 0, self._seed), run, begin=None, features=None, resume=True, watch=self._watch
            )
        return _rounded(LinearVAE.load_pretrained(run / AUTOENCODER)).eval()

    @property
    def _watch(self) -> Watch:
        def watch(what: str, done: int, total: int, values: Mapping[str, Any]) -> None:
            if what == "train" and (done % _SAYS_EVERY == 0 or done == total):
                self._say(f"{done:5}/{total} loss {values['loss']:.4f}, {values.get('left_s', 0) / 60:.0f} min left")

        return watch

    @contextmanager
    def _counted(self, part: str) -> Iterator[None]:
        """Processor seconds, those of child processes too."""
        began = _cpu_s()
        try:
            yield
        finally:
            spent = {**self.cpu_s, part: self.cpu_s.get(part, 0.0) + _cpu_s() - began}
            self._spent.write_text(json.dumps(spent))


def _cpu_s() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


@torch.no_grad()
def _rounded(network: Network) -> Network:
    for weight in network.parameters():
        weight.copy_(weight.to(SHIPPED))
    return network
