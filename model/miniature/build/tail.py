"""What the tokens at the end of every request must tell, each by itself: a generator looks there first.

In a causal model they have read all of it, and they stand at the same places before the picture whatever was asked. Scenes are
asked for: the first of them tells the ground and what is written down the middle, the next three tell a row of the grid each.
Of an edit they tell the scene that it makes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from model.miniature.build.facets import MOST_SIGNS
from model.miniature.build.mentions import lines_in_order
from model.miniature.build.probes import TAIL
from model.miniature.scene import Scene
from model.miniature.subject import Subject
from model.miniature.vocabulary import BACKGROUNDS, COLOURS, GRID, MOST_LINES, ROWS, SHAPES, SIZES

_ROWS_AT = 1  # of the tail's tokens, the first that tells a row
# Facets of the whole scene, of a row's line and of a cell. Of the latter two the last class is: nothing.
_OF_ALL: Mapping[str, int] = {"ground": len(BACKGROUNDS), "ink down": len(COLOURS) + 1, "signs down": MOST_SIGNS + 1}
_OF_ROWS: Mapping[str, int] = {
    "ink": len(COLOURS) + 1,
    "signs": MOST_SIGNS + 1,
    "line": MOST_LINES + 1,  # the how manieth that is spoken of
}
_OF_CELLS: Mapping[str, int] = {"shape": len(SHAPES) + 1, "colour": len(COLOURS) + 1, "size": len(SIZES) + 1}


class TailHeads(nn.Module):
    """Linear maps from the features (…, width) of single tokens."""

    def __init__(self, width: int) -> None:
        super().__init__()
        classes = {**_OF_ALL, **_OF_ROWS, **{name: GRID * number for name, number in _OF_CELLS.items()}}
        self.heads = nn.ModuleDict({name: nn.Linear(width, number) for name, number in classes.items()})

    def forward(self, hidden: Tensor, ends: Tensor) -> dict[str, Tensor]:
        """Logits by facet: (prompts, classes) of the whole, (prompts, rows or cells, classes) of those."""
        rows = torch.arange(len(hidden))
        tail = [hidden[rows, ends - TAIL + at] for at in range(TAIL)]
        told = {name: self.heads[name](tail[0]) for name in _OF_ALL}
        of_rows = torch.stack(tail[_ROWS_AT : _ROWS_AT + GRID], dim=1)
        told |= {name: self.heads[name](of_rows) for name in _OF_ROWS}
        for name, number in _OF_CELLS.items():
            told[name] = self.heads[name](of_rows).reshape(len(hidden), GRID * GRID, number)
        return told

    def loss(self, hidden: Tensor, ends: Tensor, subjects: Sequence[Subject], texts: Sequence[str]) -> Tensor:
        """The sum of the facets' mean cross entropies, over the prompts of scenes; what stands counts as much as what does not."""
        chosen = [at for at, subject in enumerate(subjects) if isinstance(subject, Scene)]
        total = hidden.new_zeros(())
        if not chosen:
            return total
        wanted = _wanted(*_scenes(subjects, texts))
        told = self(hidden[torch.tensor(chosen)], ends[torch.tensor(chosen)])
        for name, logits in told.items():
            losses = cross_entropy(logits.flatten(0, -2), wanted[name].flatten(), reduction="none")
            if name in _OF_ALL:
                total = total + losses.mean()
                continue
            empty = wanted[name].flatten() == logits.shape[-1] - 1
            total = total + sum(losses[part].sum() / part.sum().clamp(min=1) for part in (empty, ~empty))
        return total

    def right(
        self, hidden: Tensor, ends: Tensor, scenes: Sequence[Scene], texts: Sequence[str]
    ) -> dict[str, list[bool]]:
        """For each prompt, by facet, whether all places are told right."""
        wanted = _wanted(scenes, texts)
        return {
            name: (logits.argmax(-1) == wanted[name]).reshape(len(scenes), -1).all(1).tolist()
            for name, logits in self(hidden, ends).items()
        }


def _scenes(subjects: Sequence[Subject], texts: Sequence[str]) -> tuple[list[Scene], list[str]]:
    """Of so many subjects the scenes, with what is said of them."""
    told = [(one, text) for one, text in zip(subjects, texts, strict=True) if isinstance(one, Scene)]
    return [scene for scene, _ in told], [text for _, text in told]


def _wanted(scenes: Sequence[Scene], texts: Sequence[str]) -> dict[str, Tensor]:
    wanted = {name: torch.full((len(scenes),), number - 1) for name, number in _OF_ALL.items()}
    wanted |= {name: torch.full((len(scenes), GRID), number - 1) for name, number in _OF_ROWS.items()}
    wanted |= {name: torch.full((len(scenes), GRID * GRID), number - 1) for name, number in _OF_CELLS.items()}
    for at, (scene, text) in enumerate(zip(scenes, texts, strict=True)):
        wanted["ground"][at] = list(BACKGROUNDS).index(scene.background)
        for line in scene.lines:
            down, place = (" down", (at,)) if line.is_vertical else ("", (at, ROWS.index(line.row)))
            wanted[f"ink{down}"][place] = list(COLOURS).index(line.colour)
            wanted[f"signs{down}"][place] = min(len(line.text), MOST_SIGNS) - 1
        for number, (_, line) in enumerate(lines_in_order(text, scene)):
            if not line.is_vertical:
                wanted["line"][at, ROWS.index(line.row)] = number
        for thing in scene.things:
            wanted["shape"][at, thing.cell] = SHAPES.index(thing.shape)
            wanted["colour"][at, thing.cell] = list(COLOURS).index(thing.colour)
            wanted["size"][at, thing.cell] = list(SIZES).index(thing.size)
    return wanted
