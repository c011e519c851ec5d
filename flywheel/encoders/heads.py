"""Heads on image vectors: a number from a vector by linear maps alone, in the two formats that LAION publishes.

`layers.0.weight`, `layers.0.bias`, `layers.2.weight` … is the second aesthetic predictor (linear maps without activations
between, dropout where numbers are missing); `weight`, `bias` is the first one, a single linear map. Files are safetensors, or
PyTorch pickles that are read with `weights_only`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from flywheel.encoders.clip import Vectors
from flywheel.encoders.extra import imported
from flywheel.errors import FlywheelError

_LAYER = re.compile(r"(?:layers|mlp|scoring_head)\.(\d+)\.weight")


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """y = x @ weight + bias: maps without activations between are one map."""

    weight: npt.NDArray[np.float64]  # (dims,)
    bias: float

    @property
    def dims(self) -> int:
        return len(self.weight)

    def scores(self, vectors: Vectors) -> npt.NDArray[np.float64]:
        """One number a vector."""
        return np.asarray(vectors.astype(np.float64) @ self.weight + self.bias)

    def chances(self, vectors: Vectors) -> npt.NDArray[np.float64]:
        """The same through a sigmoid, 0..1, for heads that answer yes or no."""
        return np.asarray(1 / (1 + np.exp(-np.clip(self.scores(vectors), -50, 50))))


def load_head(path: Path, dims: int) -> Head:
    """Raises FlywheelError, in one line, for a file that holds no such head or one for vectors of other dims."""
    state = _state(path)
    weights = _maps(path, state)
    matrix, offset = np.eye(state[weights[0]].shape[1]), np.zeros(state[weights[0]].shape[1])
    for name in weights:
        weight, bias = state[name], state[f"{name.removesuffix('weight')}bias"]
        matrix, offset = weight @ matrix, weight @ offset + bias
    if matrix.shape != (1, dims):
        raise FlywheelError(
            f"{path} is a head for vectors of {matrix.shape[1]} dims, not {dims}: it belongs to another model"
        )
    return Head(weight=matrix[0], bias=float(offset[0]))


def convert_head(path: Path, to: Path) -> None:
    """Write what a file holds, if it is a head, as safetensors. Raises FlywheelError as `load_head`."""
    state = _state(path)
    _maps(path, state)
    held = {name: np.ascontiguousarray(value, dtype=np.float32) for name, value in state.items()}
    imported("safetensors.numpy").save_file(held, to)


def _maps(path: Path, state: Mapping[str, object]) -> list[str]:
    """The names of a head's maps, the first one first. Raises FlywheelError where there is none."""
    names = sorted((int(found[1]), found[0]) for name in state if (found := _LAYER.fullmatch(name)))
    weights = [name for _, name in names] or (["weight"] if "weight" in state else [])
    if not weights:
        raise FlywheelError(f"{path} holds no head in a format that is known: its names are {', '.join(state)[:120]}")
    return weights


def _state(path: Path) -> dict[str, npt.NDArray[np.float64]]:
    try:
        if path.suffix == ".safetensors":
            read: dict[str, Any] = imported("safetensors.numpy").load_file(path)
        else:
            torch = imported("torch")

            read = {
                name: value.numpy() for name, value in torch.load(path, map_location="cpu", weights_only=True).items()
            }
    except FlywheelError:
        raise
    except Exception as error:  # whatever a broken or foreign file raises
        raise FlywheelError(f"{path} cannot be read as weights: {' '.join(str(error).split())[:160]}") from error
    return {name: np.asarray(value, dtype=np.float64) for name, value in read.items()}
