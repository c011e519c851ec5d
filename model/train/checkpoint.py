"""Where a run goes on from: everything it needs, whole or not there at all.

A checkpoint is a folder `step-00000250`: tensors as safetensors, all else as JSON, nothing pickled. It is written beside and
renamed when all of it is on the disk, so that a kill at any moment leaves the last good one. The oldest are removed, last.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from flywheel.errors import FlywheelError

_TENSORS, _FACTS = "tensors.safetensors", "facts.json"
_NAME = re.compile(r"step-(\d{8})")


def save_checkpoint(run: Path, step: int, tensors: Mapping[str, Tensor], facts: Mapping[str, Any], keep: int) -> Path:
    """Raises FlywheelError where the disk is full; what was there stays."""
    place = run / f"step-{step:08}"
    aside = run / f".{place.name}.aside"
    try:
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(parents=True)
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, aside / _TENSORS)
        (aside / _FACTS).write_text(json.dumps({**facts, "step": step}), encoding="utf-8")
        for path in (aside / _TENSORS, aside / _FACTS, aside):
            _to_disk(path)
        shutil.rmtree(place, ignore_errors=True)
        os.replace(aside, place)
        _to_disk(run)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(aside, ignore_errors=True)
        raise FlywheelError(f"the checkpoint of step {step} could not be written to {run}: {error}") from error
    for old in checkpoints(run)[:-keep]:
        shutil.rmtree(old)
    return place


def checkpoints(run: Path) -> list[Path]:
    """Whole ones, oldest first."""
    found = [path for path in run.iterdir() if _NAME.fullmatch(path.name)] if run.is_dir() else []
    return sorted(path for path in found if (path / _FACTS).is_file())


def load_checkpoint(place: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and facts. Raises FlywheelError, in one line, for what cannot be read."""
    try:
        facts: dict[str, Any] = json.loads((place / _FACTS).read_text(encoding="utf-8"))
        return load_file(place / _TENSORS), facts
    except (OSError, ValueError, SafetensorError) as error:
        raise FlywheelError(f"{place} cannot be read as a checkpoint: {error}") from error


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
            owner[id(weights[name])].state[weights[name]][key] = tensor.clone()


def _to_disk(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
