"""Pictures for an autoencoder: squares of the step's phase, by number and step alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from flywheel.errors import FlywheelError
from flywheel.images.sandbox import Sandbox
from flywheel.records import Budgets, Failure
from flywheel.seeds import stable_hash
from model.data.cropping import SIZES_TASK, TASK, Square
from model.data.examples import Example, Readable
from model.data.framing import Pixels, decoding
from model.data.prepare import as_image
from model.data.small_print import written_over
from model.train.vae_recipe import VAERecipe

_CHUNK = 64  # pictures read at once. Our choice
_HELD_OUT = 50  # of so many pictures one is never trained on: what the reconstruction is measured by. Our choice


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Squares:
    """Images (B, C, S, S) in -1..1."""

    keys: tuple[str, ...]
    image_BCHW: Tensor

    def to(self, device: torch.device) -> Self:
        return type(self)(keys=self.keys, image_BCHW=self.image_BCHW.to(device, non_blocking=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class Sized:
    example: Example
    short_px: int


class SquareLoader:
    """Use it as a context: it holds child processes. `left_out` counts pictures that cannot be used, by reason.

    `text_rich`: a second source, from which phases take their share. Raises FlywheelError where a phase has no picture that
    reaches its side.
    """

    def __init__(self, examples: Sequence[Example], recipe: VAERecipe, text_rich: Sequence[Example] = ()) -> None:
        self._recipe, self.left_out = recipe, Counter[str]()
        alpha = recipe.network.in_channels == 4
        self._squares: Sandbox[Square, Pixels] = decoding(TASK, alpha)
        with decoding(SIZES_TASK, alpha) as child:
            sized = self._sized(child, examples)
            self._rich = self._sized(child, text_rich) if text_rich else []
        self.held_out = [one for one in sized if _place(one.example.key) % _HELD_OUT == 0] or sized[:1]
        apart = {one.example.key for one in self.held_out}
        kept = [one for one in sized if one.example.key not in apart] or sized
        self._of_side: dict[int, list[Example]] = {}
        for phase in recipe.phases:
            reached = [one.example for one in kept if one.short_px >= phase.side_px]
            if not reached:
                raise FlywheelError(f"no picture reaches {phase.side_px} px")
            self._of_side[phase.side_px] = reached

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._squares.close()

    def __call__(self, number: int, step: int) -> Squares:
        phase = self._recipe.phase(step)
        reached = self._of_side[phase.side_px]
        lot = np.random.default_rng(int(stable_hash([self._recipe.seed, number, step]), 16))
        rich = [one.example for one in self._rich if one.short_px >= phase.side_px] if phase.text_rich else []
        chosen = [
            rich[int(lot.integers(len(rich)))]
            if rich and lot.random() < phase.text_rich
            else reached[self._turn(number * self._recipe.pictures + at, len(reached))]
            for at in range(self._recipe.pictures)
        ]
        asked = [
            Square(
                data=_read(one.image),
                side_px=phase.side_px,
                place=(float(lot.random()), float(lot.random())),
                size=float(lot.random()),
            )
            for one in chosen
        ]
        pixels = self._decoded(asked)
        if lot.random() < phase.written:
            pixels = [written_over(one, phase.glyph_px, lot) for one in pixels]
        return Squares(keys=tuple(one.key for one in chosen), image_BCHW=torch.stack([as_image(one) for one in pixels]))

    def measured(self, side_px: int, most: int) -> Tensor:
        """Held-out pictures (B, C, S, S), their middles."""
        chosen = [one.example for one in self.held_out if one.short_px >= side_px][:most]
        asked = [Square(data=_read(one.image), side_px=side_px) for one in chosen]
        pixels = self._decoded(asked) if asked else []
        channels = self._recipe.network.in_channels
        return torch.stack([as_image(one) for one in pixels]) if pixels else torch.zeros(0, channels, side_px, side_px)

    def _turn(self, at: int, number: int) -> int:
        """Every picture once an epoch, in an order of the epoch's own."""
        epoch, place = divmod(at, number)
        return int(_order(self._recipe.seed, epoch, number)[place])

    def _decoded(self, asked: Sequence[Square]) -> list[Pixels]:
        """Those that decode; a header may promise what the rest does not keep. Raises FlywheelError where none does."""
        found = []
        for answer in self._squares.run(list(asked)):
            if isinstance(answer, Failure):
                self.left_out[answer.reason.value] += 1
            else:
                found.append(answer)
        if not found:
            raise FlywheelError("not one picture of a batch can be decoded")
        return [found[at % len(found)] for at in range(len(asked))]

    def _sized(self, child: Sandbox[bytes, int], examples: Sequence[Example]) -> list[Sized]:
        found = []
        for start in range(0, len(examples), _CHUNK):
            chunk = examples[start : start + _CHUNK]
            for example, answer in zip(chunk, child.run([_read(one.image) for one in chunk]), strict=True):
                if isinstance(answer, Failure):
                    self.left_out[answer.reason.value] += 1
                else:
                    found.append(Sized(example=example, short_px=answer))
        if not found:
            why = ", ".join(f"{count} {reason}" for reason, count in self.left_out.items())
            raise FlywheelError(f"no picture can be used: {why or 'there are none'}")
        return found


@lru_cache(maxsize=4)
def _order(seed: int, epoch: int, number: int) -> npt.NDArray[np.int64]:
    return np.random.default_rng(int(stable_hash([seed, "epoch", epoch, number]), 16)).permutation(number)


def _read(image: Readable) -> bytes:
    """Nothing where it is gone: that is no picture, and counted as such."""
    try:
        return image.read(Budgets().max_bytes)
    except OSError:
        return b""


def _place(key: str) -> int:
    return int(stable_hash(key), 16)
