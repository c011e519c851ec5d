"""Pictures and texts as vectors of length one in the same space.

`ImageTextEncoder` is the protocol; `OpenClip` the one implementation: any open_clip model from a folder on this machine,
by the ordinary `create_model_and_transforms`. Nothing is fetched, nothing is unpickled.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from flywheel.encoders.extra import imported
from flywheel.errors import FlywheelError
from flywheel.images.fitted import Fit
from flywheel.images.views import RGB

Vectors = npt.NDArray[np.float32]  # (number, dims), each of length one
WEIGHTS = "open_clip_model.safetensors"
CONFIG = "open_clip_config.json"


class ImageTextEncoder(Protocol):
    """`model_id` names the weights: vectors of another one are of another space. `fit` is how pictures must come.

    `tokens` counts what a text is to the text tower, however long.
    """

    @property
    def model_id(self) -> str: ...

    @property
    def dims(self) -> int: ...

    @property
    def fit(self) -> Fit: ...

    def images(self, pictures: Sequence[RGB]) -> Vectors: ...

    def texts(self, texts: Sequence[str]) -> Vectors: ...

    def tokens(self, text: str) -> int: ...


@dataclass(frozen=True, slots=True)
class ClipFolder:
    """What a folder says of its model without loading it."""

    model_id: str
    dims: int
    fit: Fit


def describe(folder: Path) -> ClipFolder:
    """Raises FlywheelError, in one line, for a folder that holds no open_clip model."""
    if not (folder / WEIGHTS).is_file():
        raise FlywheelError(f"{folder} holds no {WEIGHTS}: it is no folder of open_clip's")
    try:
        read = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        model, taken = read["model_cfg"], read.get("preprocess_cfg", {})
        side = model["vision_cfg"]["image_size"]
        fit = Fit(
            side_px=side if isinstance(side, int) else side[0],
            how="squash" if taken.get("resize_mode") == "squash" else "shortest",
            filter=taken.get("interpolation", "bicubic"),
        )
        return ClipFolder(model_id=folder.name, dims=int(model["embed_dim"]), fit=fit)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FlywheelError(f"{folder / CONFIG} cannot be read: {error}") from error


def write_config(folder: Path, architecture: str) -> None:
    """Beside OpenAI's published weights, what `local-dir:` reads: one of open_clip's own architectures, pictures as OpenAI
    took them (the defaults of open_clip)."""
    config = {"model_cfg": imported("open_clip").get_model_config(architecture), "preprocess_cfg": {}}
    (folder / CONFIG).write_text(json.dumps(config, indent=1), encoding="utf-8")


class OpenClip:
    """Loads its weights when made: use `open_clip_from`. Not for two threads at once."""

    def __init__(self, folder: Path) -> None:
        open_clip, torch = imported("open_clip"), imported("torch")
        told = describe(folder)
        self.model_id, self.dims, self.fit = told.model_id, told.dims, told.fit
        name = f"local-dir:{folder}"
        self._torch: Any = torch
        self._model, _, transform = open_clip.create_model_and_transforms(name)
        self._model.eval()
        self._words = open_clip.get_tokenizer(name)
        mean, deviation = _levels(transform)
        self._mean = torch.tensor(mean)[:, None, None]
        self._deviation = torch.tensor(deviation)[:, None, None]

    def images(self, pictures: Sequence[RGB]) -> Vectors:
        torch = self._torch
        if not pictures:
            return np.zeros((0, self.dims), np.float32)
        pixels = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 255
        with torch.inference_mode():
            return _unit(self._model.encode_image((pixels - self._mean) / self._deviation).float().numpy())

    def texts(self, texts: Sequence[str]) -> Vectors:
        torch = self._torch
        if not texts:
            return np.zeros((0, self.dims), np.float32)
        with torch.inference_mode():
            return _unit(self._model.encode_text(self._words(list(texts))).float().numpy())

    def tokens(self, text: str) -> int:
        encoder = getattr(self._words, "tokenizer", None)  # of the models that bring a tokenizer of their own
        ids = self._words.encode(text) if encoder is None else encoder(text)["input_ids"]
        return len(ids)


def vision_tower(folder: Path) -> tuple[Any, Sequence[float], Sequence[float]]:
    """The picture half as a module whose `forward_intermediates` tells its layers; mean and deviation of levels in 0..1.

    Raises FlywheelError for a folder that holds no open_clip model, or one whose tower does not tell its layers.
    """
    describe(folder)
    model, _, transform = imported("open_clip").create_model_and_transforms(f"local-dir:{folder}")
    if not hasattr(model.visual, "forward_intermediates"):
        raise FlywheelError(f"the picture tower of {folder} does not tell what its layers see")
    return (model.visual, *_levels(transform))


@cache
def open_clip_from(folder: Path) -> OpenClip:
    """The encoder of this process, loaded at the first call."""
    return OpenClip(folder)


def _levels(transform: Any) -> tuple[Sequence[float], Sequence[float]]:
    """Mean and deviation of the last part of open_clip's transform."""
    last = transform.transforms[-1]
    return tuple(map(float, last.mean)), tuple(map(float, last.std))


def _unit(vectors: npt.NDArray[np.float32]) -> Vectors:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, 1e-12), dtype=np.float32)
