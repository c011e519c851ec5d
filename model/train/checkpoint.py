"""Where a run goes on from: everything it needs, whole or not there at all.

A checkpoint is a folder `step-00000250`: tensors as safetensors, each worker its own shards (`torch.distributed.checkpoint`), all
else as JSON, nothing pickled. It is written beside and renamed when all of it is on the disk, so that a kill at any moment leaves
the last good one. The oldest are removed, last. It is read by any number of workers.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader, HuggingFaceStorageWriter
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save

from flywheel.errors import FlywheelError
from model.train.world import ALONE, World

_FACTS = "facts.json"
_NAME = re.compile(r"step-(\d{8})")


def save_checkpoint(
    run: Path, step: int, tensors: Mapping[str, Tensor], facts: Mapping[str, Any], keep: int, world: World = ALONE
) -> Path:
    """All workers together. Raises FlywheelError where the disk is full; what was there stays."""
    place = run / f"step-{step:08}"
    aside = run / f".{place.name}.aside"
    try:
        if world.is_first:
            shutil.rmtree(aside, ignore_errors=True)
            aside.mkdir(parents=True)
        world.wait()
        writer = HuggingFaceStorageWriter(str(aside), save_distributed=True)
        with _untold():
            stored = {name: _storable(tensor) for name, tensor in tensors.items()}
            save(stored, storage_writer=writer, no_dist=world.size == 1)
        world.wait()
        if world.is_first:
            (aside / _FACTS).write_text(json.dumps({**facts, "step": step}), encoding="utf-8")
            for path in (*aside.iterdir(), aside):
                _to_disk(path)
            shutil.rmtree(place, ignore_errors=True)
            os.replace(aside, place)
            _to_disk(run)
    except (OSError, SafetensorError, CheckpointException) as error:
        shutil.rmtree(aside, ignore_errors=True)
        raise FlywheelError(
            f"the checkpoint of step {step} could not be written to {run}: {_one_line(error)}"
        ) from error
    if world.is_first:
        for old in checkpoints(run)[:-keep]:
            shutil.rmtree(old)
    world.wait()
    return place


def checkpoints(run: Path) -> list[Path]:
    """Whole ones, oldest first."""
    found = [path for path in run.iterdir() if _NAME.fullmatch(path.name)] if run.is_dir() else []
    return sorted(path for path in found if (path / _FACTS).is_file())


def facts_of(place: Path) -> dict[str, Any]:
    """Raises FlywheelError, in one line, for what cannot be read."""
    try:
        facts: dict[str, Any] = json.loads((place / _FACTS).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FlywheelError(f"{place} cannot be read as a checkpoint: {_one_line(error)}") from error
    return facts


def load_checkpoint(
    place: Path, like: Callable[[str], Tensor | None] = lambda name: None, world: World = ALONE
) -> dict[str, Tensor]:
    """Every tensor, cut as the one that it is `like`; whole where it is like none.

    Raises FlywheelError, in one line, for what cannot be read.
    """
    try:
        reader = HuggingFaceStorageReader(str(place))
        stored = reader.read_metadata().state_dict_metadata
        tensors = {name: _room(about, like(name)) for name, about in stored.items()}
        with _untold():
            load(tensors, storage_reader=reader, no_dist=world.size == 1)
    except (OSError, ValueError, KeyError, SafetensorError, CheckpointException) as error:
        raise FlywheelError(f"{place} cannot be read as a checkpoint: {_one_line(error)}") from error
    if not tensors:
        raise FlywheelError(f"{place} cannot be read as a checkpoint: it holds no tensors")
    return tensors


def optimizer_tensors(network: nn.Module, found: Sequence[torch.optim.Optimizer]) -> dict[str, Tensor]:
    """What optimizers remember of each weight, by the weight's name."""
    kept = {}
    for name, weight in network.named_parameters():
        for optimizer in found:
            for key, value in optimizer.state.get(weight, {}).items():
                kept[f"optimizer/{key}/{name}"] = value if isinstance(value, Tensor) else torch.tensor(value)
    return kept


def fill_optimizers(network: nn.Module, found: Sequence[torch.optim.Optimizer], tensors: Mapping[str, Tensor]) -> None:
    """Give optimizers back what they remembered."""
    weights = dict(network.named_parameters())
    owner = {id(weight): one for one in found for group in one.param_groups for weight in group["params"]}
    for full, tensor in tensors.items():
        kind, _, rest = full.partition("/")
        if kind == "optimizer":
            key, _, name = rest.partition("/")
            weight = weights[name]
            owner[id(weight)].state[weight][key] = (
                tensor.clone() if tensor.shape == weight.shape else tensor.reshape(())
            )


@contextmanager
def _untold() -> Iterator[None]:
    """Without the word, at every save of a worker alone, that nobody else is there."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "torch.distributed is disabled")
        yield


def _storable(tensor: Tensor) -> Tensor:
    """Numbers as vectors of one: shards are told apart by their places along an axis."""
    held = tensor.detach()
    return held.reshape(1) if held.ndim == 0 else held.contiguous()


def _room(about: Any, like: Tensor | None) -> Tensor:
    if like is not None and like.shape == about.size:
        return torch.zeros_like(like, dtype=about.properties.dtype)
    return torch.zeros(about.size, dtype=about.properties.dtype)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]


def _to_disk(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
