"""Folders as diffusers has them: a config.json beside safetensors, in one file or in shards with an index.

Reading is exact: a name too many or too few, another shape, another kind of network is refused in one line.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from huggingface_hub import split_torch_state_dict_into_shards
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from flywheel.errors import FlywheelError

CONFIG, WEIGHTS = "config.json", "diffusion_pytorch_model"
_INDEX = f"{WEIGHTS}.safetensors.index.json"
DIFFUSERS_VERSION = "0.42.1"  # whose layout this is
SHARD = "5GB"
Network = TypeVar("Network", bound=nn.Module)


def save_weights(
    state: Mapping[str, Tensor],
    config: Mapping[str, Any],
    folder: Path,
    *,
    shard: str | int = SHARD,
    dtype: torch.dtype | None = None,
) -> None:
    """Write a folder; files appear whole, the config last, so that a folder with a config is a whole one.

    `dtype`: what weights are stored in; None: as they are.
    """
    folder.mkdir(parents=True, exist_ok=True)
    held = {name: weight.detach().to(dtype or weight.dtype).contiguous().cpu() for name, weight in state.items()}
    pattern = f"{WEIGHTS}{{suffix}}.safetensors"
    plan = split_torch_state_dict_into_shards(held, filename_pattern=pattern, max_shard_size=shard)
    for file, names in plan.filename_to_tensors.items():
        aside = folder / f".{file}.aside"
        save_file({name: held[name] for name in names}, aside, metadata={"format": "pt"})
        os.replace(aside, folder / file)
    if plan.is_sharded:
        index = {"metadata": plan.metadata, "weight_map": plan.tensor_to_filename}
        write_json(folder / _INDEX, index)
    write_json(folder / CONFIG, {**config, "_diffusers_version": DIFFUSERS_VERSION})


def read_config(folder: Path, class_name: str) -> dict[str, Any]:
    """The config without diffusers' own keys. Raises FlywheelError for a folder of something else, or of nothing."""
    read = _config(folder)
    if read.get("_class_name") != class_name:
        raise FlywheelError(f"{folder} holds a {read.get('_class_name')}, not a {class_name}")
    return {name: value for name, value in read.items() if not name.startswith("_")}


def class_of(folder: Path) -> str | None:
    """The name of the network that lies there. Raises FlywheelError for a folder of nothing."""
    return _config(folder).get("_class_name")


def _config(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG
    try:
        read: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return read
    except FileNotFoundError:
        raise FlywheelError(f"{folder} holds no {CONFIG}: it is no folder of a model") from None
    except (OSError, ValueError) as error:
        raise FlywheelError(f"{path} cannot be read: {error}") from error


def filled(make: Callable[[], Network], folder: Path) -> Network:
    """A network made without weights of its own, filled from a folder. Raises FlywheelError as `load_weights`."""
    with torch.device("meta"):
        network = make()
    network.to_empty(device="cpu")
    load_weights(network, folder)
    return network


def load_weights(network: nn.Module, folder: Path) -> None:
    """Fill a network, a tensor at a time. Raises FlywheelError where names or shapes are not the network's own."""
    wanted = network.state_dict()
    seen: set[str] = set()
    for name, weight in stored_weights(folder):
        if name not in wanted:
            raise FlywheelError(f"{folder} holds {name}, which this network has not")
        if weight.shape != wanted[name].shape:
            shapes = f"{tuple(weight.shape)}, not {tuple(wanted[name].shape)}"
            raise FlywheelError(f"{folder}: {name} is {shapes}: these are weights of another config")
        with torch.no_grad():
            wanted[name].copy_(weight)
        seen.add(name)
    missing = sorted(wanted.keys() - seen)
    if missing:
        raise FlywheelError(f"{folder} lacks {missing[0]}" + (f" and {len(missing) - 1} more" if missing[1:] else ""))


def stored_weights(folder: Path) -> Iterator[tuple[str, Tensor]]:
    """Every tensor of a folder. Raises FlywheelError for files that are missing or broken; none outside the folder is read."""
    for path in _files(folder):
        try:
            with safe_open(path, "pt") as held:
                for name in held.keys():  # noqa: SIM118 - it is no mapping
                    yield name, held.get_tensor(name)
        except (OSError, SafetensorError) as error:
            raise FlywheelError(f"{path} cannot be read as safetensors: {error}") from error


def _files(folder: Path) -> list[Path]:
    whole, index = folder / f"{WEIGHTS}.safetensors", folder / _INDEX
    if not index.is_file():
        if not whole.is_file():
            raise FlywheelError(f"{folder} holds no {whole.name} and no {_INDEX}")
        return [whole]
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise FlywheelError(f"{index} cannot be read: {error}") from error
    strange = [name for name in names if Path(name).name != name]
    if strange:
        raise FlywheelError(f"{index} names {strange[0]}, which is outside its folder")
    return [folder / name for name in names]


def digest_of(network: nn.Module) -> str:
    """Of all weights and buffers by name, 16 digits: what latents and features are kept under."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()[:16]


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """A file that appears whole."""
    aside = path.with_name(f".{path.name}.aside")
    aside.write_text(json.dumps(content, indent=2), encoding="utf-8")
    os.replace(aside, path)
