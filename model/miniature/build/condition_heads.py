"""All that a condition encoder's features are read by while it learns, and examined by; kept beside its weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import Qwen2Tokenizer

from model.miniature.build.probes import GATHERED, PLACED, Probes, TokenHeads
from model.miniature.build.tail import TailHeads


@dataclass(frozen=True, slots=True)
class ConditionHeads:
    """Of the whole prompt at once, of every token, of the tokens that end it."""

    probes: Probes
    tokens: TokenHeads
    tail: TailHeads

    @property
    def parts(self) -> dict[str, nn.Module]:
        return {"probes": self.probes, "tokens": self.tokens, "tail": self.tail}


def new_heads(width: int, tokenizer: Qwen2Tokenizer) -> ConditionHeads:
    return ConditionHeads(Probes(GATHERED * width), TokenHeads(width, tokenizer), TailHeads(width))


def save_heads(heads: ConditionHeads, file: Path) -> None:
    """Of probes only those of what stands where: those that read letters are larger than the model they read."""
    kept = {}
    for part, module in heads.parts.items():
        for name, weight in module.state_dict().items():
            if part != "probes" or name.split(".")[1] in PLACED:
                kept[f"{part}.{name}"] = weight.to(torch.float16).contiguous()
    save_file(kept, file)


def load_heads(file: Path, tokenizer: Qwen2Tokenizer) -> ConditionHeads:
    """Probes of facets that are not PLACED are as random as new ones."""
    state = {name: weight.float() for name, weight in load_file(file).items()}
    heads = new_heads(state["tail.heads.ground.weight"].shape[1], tokenizer)
    for part, module in heads.parts.items():
        own = {name.removeprefix(f"{part}."): weight for name, weight in state.items() if name.startswith(f"{part}.")}
        module.load_state_dict(own, strict=part != "probes")
    return heads
