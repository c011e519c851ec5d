"""What a generator can read from its condition: linear maps from the features of a prompt to the facets of its scene.

The features are those of the condition encoder (last decoder layer, before the final norm), which a generator attends to
token by token: `TokenHeads` ask each for the thing that it speaks of. `Probes` ask for everything at once, which is more than
a generator needs: of the features' sum over the prompt, and of those at the tokens that end every request, which in a causal
model have read all of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import Qwen2Tokenizer

from model.miniature.build.facets import FACETS, UNTOLD, by_sort, facet_loss
from model.miniature.build.mentions import KNOWN, known_by_token
from model.miniature.scene import Scene
from model.miniature.subject import Subject

PLACED = ("background", "shape", "colour", "size")
TAIL = 5  # tokens of "<|im_end|>\n<|im_start|>assistant\n"
GATHERED = 1 + TAIL
_PROBED = tuple(name for name in FACETS if name != "printed")  # whole pages of letters are more than a vector holds
_TOKENS = 16  # sums are divided by it, so that they are about as long as one token's features


class Probes(nn.Module):
    """Linear maps from so many features to all facets: those `gathered` from a prompt, or a whole vector."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.heads = nn.ModuleDict(
            {name: nn.Linear(features, FACETS[name].places * FACETS[name].classes) for name in _PROBED}
        )

    def forward(self, features: Tensor, names: Sequence[str]) -> dict[str, Tensor]:
        """Logits by facet, (prompts, places, classes)."""
        return {name: self.heads[name](features).view(len(features), FACETS[name].places, -1) for name in names}

    def loss(self, features: Tensor, subjects: Sequence[Subject]) -> Tensor:
        """Sum over facets of their mean cross entropy."""
        total = features.new_zeros(())
        for names, chosen in by_sort(subjects):
            logits = self(features[torch.tensor(chosen)], [name for name in names if name in _PROBED])
            told = facet_loss(logits, [subjects[at] for at in chosen], silence_apart=True)
            total = total + len(chosen) / len(subjects) * told
        return total


class TokenHeads(nn.Module):
    """Linear maps from a token's features to what it may know of the thing that is spoken of (`mentions`)."""

    def __init__(self, width: int, tokenizer: Qwen2Tokenizer) -> None:
        super().__init__()
        self._tokenizer = tokenizer
        self.heads = nn.ModuleDict({name: nn.Linear(width, classes) for name, classes in KNOWN.items()})

    def loss(
        self,
        hidden: Tensor,
        ends: Tensor,
        subjects: Sequence[Subject],
        texts: Sequence[str],
        before: Sequence[Scene] | None = None,
    ) -> Tensor:
        """Sum of the mean cross entropies, over the prompts of scenes. `before`: what each edit begins with."""
        read = list(self._read(hidden, ends, subjects, texts, before))
        total = hidden.new_zeros(())
        for name, head in self.heads.items():
            wanted = torch.cat([known[name] for _, known in read]) if read else torch.zeros(0)
            told = wanted != UNTOLD
            if told.any():
                features = torch.cat([own for own, _ in read])
                total = total + cross_entropy(head(features[told]), wanted[told])
        return total

    def right(
        self,
        hidden: Tensor,
        ends: Tensor,
        subjects: Sequence[Subject],
        texts: Sequence[str],
        before: Sequence[Scene] | None = None,
    ) -> list[dict[str, bool]]:
        """For the prompt of each scene, whether all its tokens tell what they may know of it; only what any may know."""
        answers = []
        for own, known in self._read(hidden, ends, subjects, texts, before):
            told = {name: wanted != UNTOLD for name, wanted in known.items()}
            answers.append(
                {
                    name: bool((head(own[told[name]]).argmax(-1) == known[name][told[name]]).all())
                    for name, head in self.heads.items()
                    if told[name].any()
                }
            )
        return answers

    def _read(
        self,
        hidden: Tensor,
        ends: Tensor,
        subjects: Sequence[Subject],
        texts: Sequence[str],
        before: Sequence[Scene] | None,
    ) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
        """Of the prompt of each scene: the features of its tokens, and what they may know."""
        for row, (subject, text) in enumerate(zip(subjects, texts, strict=True)):
            if isinstance(subject, Scene):
                offsets = self._tokenizer(text, return_offsets_mapping=True)["offset_mapping"]
                last = int(ends[row]) - TAIL
                standing = None if before is None else before[row]
                yield hidden[row, last - len(offsets) : last], known_by_token(text, subject, offsets, standing)


def gathered(hidden: Tensor, begins: int, ends: Tensor) -> Tensor:
    """(prompts, GATHERED * width): the sum over a prompt's tokens, in any number, and the features at those that end it."""
    places = torch.arange(hidden.shape[1])
    own = (places >= begins) & (places < ends[:, None])
    summed = (hidden * own[:, :, None]).sum(1) / _TOKENS
    rows = torch.arange(len(hidden))
    return torch.cat([summed, *(hidden[rows, ends - TAIL + at] for at in range(TAIL))], 1)
