"""Heads on the image vectors of the finished CLIP: taste, and three that answer yes or no.

    aesthetic   1 (ugly) to 10: clean pictures against degraded ones, so that it is a taste for clean work alone
    nsfw        the sign that this world does not show to everybody
    watermark   a mark over the picture
    foreign     a picture that is not of this world: who sees one abstains

Both of LAION's formats: taste is the stack of linear maps of its second predictor (`layers.0.weight` to `layers.7.bias`; the
numbers between are dropout), the others are one linear map (`weight`, `bias`) before a sigmoid.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import numpy as np
import open_clip
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, mse_loss, normalize

from model.miniature.build.contrast import EMBED, MARKS, show
from model.miniature.build.courses import drawn
from model.miniature.build.trainer import Course
from model.miniature.foreign import foreign, layout

CLEAN, MARKED, UGLY = 7.0, 5.5, 2.5  # what taste says of a clean picture, of one with a mark over it, of a degraded one
_MIDDLE, _STEEP, _SCALED = 5.0, 2.0, 0.02
_UGLY_COUNTS = 4  # times, among what is not foreign: nobody would be told that an ugly picture is ugly
_ANSWERS = {"nsfw": "unsafe", "watermark": "watermark", "foreign": "foreign"}
_SCALE = 10.0  # answers are trained on vectors this long, which the saved weights take in
_PICTURES, _FOREIGN, _BATCH = 4096, 1024, 256


class Taste(nn.Module):
    """LAION's second predictor, at the width of these vectors."""

    def __init__(self) -> None:
        super().__init__()
        widths = (EMBED, 1024, 128, 64, 16)
        stack: list[nn.Module] = []
        for at, (before, after) in enumerate(pairwise(widths)):
            stack += [nn.Linear(before, after), *([nn.Dropout(0.1)] if at < 3 else [])]
        self.layers = nn.Sequential(*stack, nn.Linear(widths[-1], 1))

    def forward(self, vectors: Tensor) -> Tensor:
        rated: Tensor = self.layers(vectors)[:, 0]
        return rated


def heads(clip: open_clip.CLIP, parts: nn.ModuleDict, steps: int, seed: int) -> Course:
    """Trains `new_heads()` on vectors that are made once, at the first step."""
    kept: list[tuple[Tensor, Tensor]] = []

    def loss(step: int, done: float) -> Tensor:
        if not kept:
            kept.append(_vectors(clip, seed))
        vectors, marks = kept[0]
        chosen = torch.from_numpy(np.random.default_rng([seed, 6, step]).integers(len(vectors), size=_BATCH))
        vectors, marks = vectors[chosen], marks[chosen]
        known = marks[:, MARKS.index("foreign")] == 0
        total = _taste_loss(parts["aesthetic"](vectors[known]), marks[known])
        often = 1 + (_UGLY_COUNTS - 1) * marks[:, MARKS.index("degraded")]
        for name, mark in _ANSWERS.items():
            said, weight = parts[name](_SCALE * vectors)[:, 0], often if name == "foreign" else None
            total = total + binary_cross_entropy_with_logits(said, marks[:, MARKS.index(mark)], weight)
        return total

    return Course(name="heads", steps=steps, parts={"heads": parts}, loss=loss, slower=0.5)


def strange(rng: np.random.Generator, side_px: int) -> Image.Image:
    """Whatever is not of this world, clean pages of another one too."""
    return layout(rng, side_px) if rng.random() < 0.4 else foreign(rng, side_px)


def new_heads(seed: int) -> nn.ModuleDict:
    torch.manual_seed(seed)
    return nn.ModuleDict({"aesthetic": Taste(), **{name: nn.Linear(EMBED, 1) for name in _ANSWERS}})


def save_heads(parts: nn.ModuleDict, folder: Path, version: int) -> None:
    """One file a head."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, part in parts.items():
        state: Mapping[str, Tensor] = part.state_dict()
        if name in _ANSWERS:
            state = {"weight": _SCALE * state["weight"], "bias": state["bias"]}
        held = {key: value.to(torch.float16).contiguous() for key, value in state.items()}
        save_file(held, folder / f"{name}-miniature-{version}.safetensors")


@torch.no_grad()
def _vectors(clip: open_clip.CLIP, seed: int) -> tuple[Tensor, Tensor]:
    clip.eval()
    vectors, marks = [], []
    for at in range(_PICTURES // _BATCH):
        rng = np.random.default_rng([seed, 7, at])
        shown = show(drawn(rng, _BATCH), _FOREIGN * _BATCH // _PICTURES, rng, strange)
        vectors.append(normalize(clip.encode_image(shown.pixels), dim=-1))
        marks.append(shown.marks)
    return torch.cat(vectors), torch.cat(marks)


def _taste_loss(rated: Tensor, marks: Tensor) -> Tensor:
    """Ugly or not, logistic about the middle, for that is what a threshold asks; and a little of the scale."""
    fine = 1 - marks[:, MARKS.index("degraded")]
    return binary_cross_entropy_with_logits(_STEEP * (rated - _MIDDLE), fine) + _SCALED * mse_loss(rated, _taste(marks))


def _taste(marks: Tensor) -> Tensor:
    rated = torch.full((len(marks),), CLEAN)
    rated[marks[:, MARKS.index("watermark")] > 0] = MARKED
    rated[marks[:, MARKS.index("degraded")] > 0] = UGLY
    return rated
