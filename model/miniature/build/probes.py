"""What a generator can read from its condition: linear maps from the features of a prompt to the facets of its scene.

The features are those of the condition encoder (last decoder layer, before the final norm) at the tokens that end every
request: in a causal model these alone have read all of the prompt. A facet that a linear map finds there, an image token's
attention finds, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import Qwen2Tokenizer

from model.miniature.build.facets import FACETS, UNTOLD, by_sort, facet_loss
from model.miniature.build.mentions import KNOWN, known_by_token
from model.miniature.scene import Scene
from model.miniature.subject import Subject

PLACED = ("background", "shape", "colour", "size")
TAIL = 5  # tokens of "<|im_end|>\n<|im_start|>assistant\n"


class Probes(nn.Module):
    """Linear maps from so many features to all facets: those of a request's `tail`, or a whole vector."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.heads = nn.ModuleDict(
            {name: nn.Linear(features, facet.places * facet.classes) for name, facet in FACETS.items()}
        )

    def forward(self, features: Tensor, names: Sequence[str]) -> dict[str, Tensor]:
        """Logits by facet, (prompts, places, classes)."""
        return {name: self.heads[name](features).view(len(features), FACETS[name].places, -1) for name in names}

    def loss(self, features: Tensor, subjects: Sequence[Subject]) -> Tensor:
        """Sum over facets of their mean cross entropy."""
        total = features.new_zeros(())
        for names, chosen in by_sort(subjects):
            logits = self(features[torch.tensor(chosen)], names)
            total = total + len(chosen) / len(subjects) * facet_loss(logits, [subjects[at] for at in chosen])
        return total


def save_probes(probes: Probes, file: Path) -> None:
    """Of what stands where alone: those that read letters are larger than the model they read."""
    kept = {name: weight for name, weight in probes.state_dict().items() if name.split(".")[1] in PLACED}
    save_file({name: weight.to(torch.float16).contiguous() for name, weight in kept.items()}, file)


def load_probes(file: Path) -> Probes:
    """Those of PLACED facets; the others are as random as new ones."""
    state = {name: weight.float() for name, weight in load_file(file).items()}
    probes = Probes(state[f"heads.{PLACED[0]}.weight"].shape[1])
    probes.load_state_dict(state, strict=False)
    return probes


class TokenHeads(nn.Module):
    """Linear maps from a token's features to what it may know of the thing that is spoken of (`mentions`)."""

    def __init__(self, width: int, tokenizer: Qwen2Tokenizer) -> None:
        super().__init__()
        self._tokenizer = tokenizer
        self.heads = nn.ModuleDict({name: nn.Linear(width, classes) for name, classes in KNOWN.items()})

    def loss(self, hidden: Tensor, ends: Tensor, subjects: Sequence[Subject], texts: Sequence[str]) -> Tensor:
        """Sum of the mean cross entropies, over the prompts of scenes."""
        features, known = [], []
        for row, (subject, text) in enumerate(zip(subjects, texts, strict=True)):
            if isinstance(subject, Scene):
                offsets = self._tokenizer(text, return_offsets_mapping=True)["offset_mapping"]
                last = int(ends[row]) - TAIL
                features.append(hidden[row, last - len(offsets) : last])
                known.append(known_by_token(text, subject, offsets))
        total = hidden.new_zeros(())
        for name, head in self.heads.items():
            wanted = torch.cat([one[name] for one in known]) if known else torch.zeros(0)
            told = wanted != UNTOLD
            if told.any():
                total = total + cross_entropy(head(torch.cat(features)[told]), wanted[told])
        return total


def tail(hidden: Tensor, ends: Tensor) -> Tensor:
    """(prompts, TAIL * width): the features just before the places where answers begin."""
    rows = torch.arange(len(hidden))
    return torch.stack([hidden[rows, ends - TAIL + at] for at in range(TAIL)], 1).flatten(1)
