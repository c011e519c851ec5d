"""What the tokens at the end of every request must tell, each by itself: a generator looks there first.

In a causal model they have read all of it, and they stand at the same places before the picture whatever was asked. Scenes are
asked for: the first of them tells the ground and about the line, the next three tell a row of the grid each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from model.miniature.build.facets import MOST_SIGNS
from model.miniature.build.probes import TAIL
from model.miniature.scene import Scene
from model.miniature.subject import Subject
from model.miniature.vocabulary import BACKGROUNDS, COLOURS, GRID, ROWS, SHAPES, SIZES

_ROWS_AT = 1  # of the tail's tokens, the first that tells a row
# Facets of the whole scene; then those of a cell, the last class of which is: nothing.
_OF_ALL: Mapping[str, int] = {
    "ground": len(BACKGROUNDS),
    "ink": len(COLOURS) + 1,
    "line": len(ROWS) + 2,  # a row of the grid, from top to bottom, nowhere
    "signs": MOST_SIGNS + 1,
}
_OF_CELLS: Mapping[str, int] = {"shape": len(SHAPES) + 1, "colour": len(COLOURS) + 1, "size": len(SIZES) + 1}


class TailHeads(nn.Module):
    """Linear maps from the features (…, width) of single tokens."""

    def __init__(self, width: int) -> None:
        super().__init__()
        classes = {**_OF_ALL, **{name: GRID * number for name, number in _OF_CELLS.items()}}
        self.heads = nn.ModuleDict({name: nn.Linear(width, number) for name, number in classes.items()})

    def forward(self, hidden: Tensor, ends: Tensor) -> dict[str, Tensor]:
        """Logits by facet: (prompts, classes) of the whole, (prompts, cells, classes) of cells."""
        rows = torch.arange(len(hidden))
        tail = [hidden[rows, ends - TAIL + at] for at in range(TAIL)]
        told = {name: self.heads[name](tail[0]) for name in _OF_ALL}
        of_rows = torch.stack(tail[_ROWS_AT : _ROWS_AT + GRID], dim=1)
        for name, number in _OF_CELLS.items():
            told[name] = self.heads[name](of_rows).reshape(len(hidden), GRID * GRID, number)
        return told

    def loss(self, hidden: Tensor, ends: Tensor, subjects: Sequence[Subject]) -> Tensor:
        """The sum of the facets' mean cross entropies, over the prompts of scenes; what stands counts as much as what does not."""
        scenes = [(at, subject) for at, subject in enumerate(subjects) if isinstance(subject, Scene)]
        if not scenes:
            return hidden.new_zeros(())
        chosen = torch.tensor([at for at, _ in scenes])
        total = hidden.new_zeros(())
        told, wanted = self(hidden[chosen], ends[chosen]), _wanted([scene for _, scene in scenes])
        for name, logits in told.items():
            losses = cross_entropy(logits.flatten(0, -2), wanted[name].flatten(), reduction="none")
            if name in _OF_ALL:
                total = total + losses.mean()
                continue
            empty = wanted[name].flatten() == _OF_CELLS[name] - 1
            total = total + sum(losses[part].sum() / part.sum().clamp(min=1) for part in (empty, ~empty))
        return total

    def right(self, hidden: Tensor, ends: Tensor, scenes: Sequence[Scene]) -> dict[str, list[bool]]:
        """For each prompt, by facet, whether all places are told right."""
        wanted = _wanted(scenes)
        return {
            name: (logits.argmax(-1) == wanted[name]).reshape(len(scenes), -1).all(1).tolist()
            for name, logits in self(hidden, ends).items()
        }


def _wanted(scenes: Sequence[Scene]) -> dict[str, Tensor]:
    wanted = {name: torch.full((len(scenes),), number - 1) for name, number in _OF_ALL.items()}
    wanted |= {name: torch.full((len(scenes), GRID * GRID), number - 1) for name, number in _OF_CELLS.items()}
    for at, scene in enumerate(scenes):
        wanted["ground"][at] = list(BACKGROUNDS).index(scene.background)
        wanted["signs"][at] = 0
        for line in scene.lines:
            wanted["ink"][at] = list(COLOURS).index(line.colour)
            wanted["line"][at] = len(ROWS) if line.is_vertical else ROWS.index(line.row)
            wanted["signs"][at] = min(len(line.text), MOST_SIGNS)
        for thing in scene.things:
            wanted["shape"][at, thing.cell] = SHAPES.index(thing.shape)
            wanted["colour"][at, thing.cell] = list(COLOURS).index(thing.colour)
            wanted["size"][at, thing.cell] = list(SIZES).index(thing.size)
    return wanted
