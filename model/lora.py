"""LoRA: what fine-tuning adds to frozen maps, two thin matrices each, in the files that other programs read.

    y = W x + alpha / rank * B (A x)          A (rank, in) by its fan-in, B (out, rank) zero at first (Hu et al. 2021)

The factor is in B when it is written, so that no file needs an alpha. ComfyUI has the gate and the value of SwiGLU in one matrix
(`gate_up`, gate rows first): one A above the other, and B with the two in its corners, is the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from flywheel.errors import FlywheelError
from model.frozen import FrozenLinear
from model.mmdit import MMDiT

DIFFUSERS, COMFYUI = "pytorch_lora_weights.safetensors", "comfyui_lora.safetensors"
TARGETS = ("to_q", "to_k", "to_v", "to_out.0", "gate_layer", "proj", "out")  # of every block: all of its maps
_GATE, _VALUE, _FUSED = "img_mlp.gate_layer", "img_mlp.proj", "img_mlp.gate_up"
_BEFORE = "transformer."
Pair = tuple[Tensor, Tensor]  # A and B, the factor in B


@dataclass(frozen=True, slots=True, kw_only=True)
class LoRA:
    """`rank` 0: none, all weights are trained. `base`: how the frozen maps are kept; `away`: in the main memory, see `frozen`."""

    rank: int = 0
    alpha: float = 16.0
    base: Literal["whole", "8 bits"] = "whole"
    away: bool = False

    def __post_init__(self) -> None:
        if self.rank < 0 or self.alpha <= 0:
            raise ValueError("a LoRA has a rank of 0 (none) or more, and an alpha above 0")
        if self.base not in ("whole", "8 bits"):
            raise ValueError(f"the base is whole or 8 bits, not {self.base!r}")


class Adapted(nn.Module):
    """A frozen map and what is added to it."""

    def __init__(self, base: FrozenLinear, lora: LoRA, lot: torch.Generator) -> None:
        super().__init__()
        self.base, self.factor = base, lora.alpha / lora.rank
        self.lora_A = nn.Linear(base.in_features, lora.rank, bias=False)
        self.lora_B = nn.Linear(lora.rank, base.out_features, bias=False)
        nn.init.normal_(self.lora_A.weight, std=base.in_features**-0.5, generator=lot)
        nn.init.zeros_(self.lora_B.weight)

    def forward(self, x: Tensor) -> Tensor:
        added: Tensor = self.lora_B(self.lora_A(x)) * self.factor
        base: Tensor = self.base(x)
        return base + added


def adapt(network: MMDiT, lora: LoRA, seed: int, dtype: torch.dtype) -> None:
    """In place: every map of the blocks is frozen and added to, all else is frozen. `dtype`: what frozen maps are kept in."""
    lot = torch.Generator().manual_seed(seed)
    network.requires_grad_(False)
    for name in [name for name, _ in _maps(network)]:
        trained = network.get_submodule(name)
        assert isinstance(trained, nn.Linear)
        frozen = FrozenLinear(trained, dtype, eight_bits=lora.base == "8 bits", away=lora.away)
        network.set_submodule(name, Adapted(frozen, lora, lot))


def save_lora(weights: Mapping[str, Tensor], factor: float, folder: Path) -> None:
    """Both files, of an adapted network's trained weights by name. Raises FlywheelError where they cannot be written."""
    pairs = {
        name: (weights[f"{name}.lora_A.weight"], weights[f"{name}.lora_B.weight"] * factor)
        for name in dict.fromkeys(key.rpartition(".lora_")[0] for key in weights)
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        save_file(_named({f"{_BEFORE}{name}": pair for name, pair in pairs.items()}), folder / DIFFUSERS)
        save_file(_named({f"diffusion_model.{name}": pair for name, pair in _fused(pairs).items()}), folder / COMFYUI)
    except (OSError, SafetensorError) as error:
        raise FlywheelError(f"{folder} cannot be written to: {error}") from error


@torch.no_grad()
def merge(network: MMDiT, file: Path) -> None:
    """Add a LoRA in diffusers' layout to a network's weights; a folder: the file in it. Raises FlywheelError for what does not fit."""
    path = file / DIFFUSERS if file.is_dir() else file
    try:
        read = load_file(path)
    except (OSError, SafetensorError) as error:
        raise FlywheelError(f"{path} is no LoRA: {error}") from error
    maps = dict(_maps(network))
    names = {key.removeprefix(_BEFORE).rpartition(".lora_")[0] for key in read}
    for name in names:
        a, b = (read.get(f"{_BEFORE}{name}.lora_{letter}.weight") for letter in "AB")
        if a is None or b is None or name not in maps or (b.shape[0], a.shape[1]) != maps[name].weight.shape:
            raise FlywheelError(f"{path} does not fit this network: {name or 'no layer of it'}")
        weight = maps[name].weight
        weight.add_((b.float() @ a.float()).to(weight))


def _maps(network: MMDiT) -> Iterator[tuple[str, nn.Linear]]:
    for name, module in network.transformer_blocks.named_modules():
        if isinstance(module, nn.Linear) and name.endswith(tuple(f".{target}" for target in TARGETS)):
            yield f"transformer_blocks.{name}", module


def _named(pairs: Mapping[str, Pair]) -> dict[str, Tensor]:
    return {
        f"{name}.lora_{letter}.weight": matrix.detach().cpu().contiguous()
        for name, pair in pairs.items()
        for letter, matrix in zip("AB", pair, strict=True)
    }


def _fused(pairs: Mapping[str, Pair]) -> dict[str, Pair]:
    found = {name: pair for name, pair in pairs.items() if not name.endswith((_GATE, _VALUE))}
    for name in (name for name in pairs if name.endswith(_GATE)):
        stem = name.removesuffix(_GATE)
        (gate_a, gate_b), (value_a, value_b) = pairs[name], pairs[stem + _VALUE]
        found[stem + _FUSED] = torch.cat([gate_a, value_a]), torch.block_diag(gate_b, value_b)  # type: ignore[no-untyped-call]
    return found
