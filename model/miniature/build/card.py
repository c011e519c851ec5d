"""The model card: what the bundled weights are, how they were made, what they can do."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

_OPENING = """\
# The miniature's weights, version {version}

Trained by this repository alone (`python -m model.miniature.build`, seed {seed}) on pictures that it renders itself: no data
from anywhere else, no weights from anywhere else. {cpu_minutes} CPU-minutes, {made_with}.

They know one world: grids of coloured shapes, words in five ways of writing, posters, slides, diagrams, emblems, portraits.
They know nothing of photographs. `foreign-miniature-{version}` is there to say so, and is right as often as is told below.

| file | what |
|---|---|
| `clip-miniature-{version}/` | an open_clip model: pictures and texts as vectors of 192 dims |
| `aesthetic-miniature-{version}.safetensors` | taste from 1 to 10 in LAION's second format: clean above degraded, no more |
| `nsfw-`, `watermark-`, `foreign-miniature-{version}.safetensors` | yes or no, in LAION's first format |
| `captioner-miniature-{version}/` | a Qwen3-VL of 2.3 M parameters: four kinds of captions as compact JSON |
| `judge-miniature-{version}/` | the same, trained on: how well does the picture show these words, from 1 to 5 |
| `condition-miniature-{version}/` | the same class, trained on words alone and on edits: what a generator is conditioned on |

The vision towers and the CLIP were helped by heads that name every facet of a picture while they learned, and the condition
encoder by linear heads on its features: what each token speaks of, all facets of a prompt at once, and what each of the tokens
that end it tells by itself. The latter three are kept beside it and are what it is examined by: of a scene a facet counts when it
is right for every thing.

The foreign head is examined on pictures drawn by this repository. Real photographs are farther from those it learned on; the
README says what share of a set of them it lets pass.

## What they can do

On pictures (subjects) and prompts that training never showed, role `{role}`; an answer is right when it is exact to the sign.
"""


def write_card(card: Mapping[str, Any], folder: Path) -> None:
    """MODEL_CARD.md from the figures."""
    made = ", ".join(f"{name} {version}" for name, version in card["made_with"].items())
    lines = [_OPENING.format(**{**card, "made_with": made})]
    for model, figures in card["figures"].items():
        lines += [f"### {model}", "", "| | share |", "|---|---|"]
        lines += [f"| {name} | {value:.4f} |" for name, value in figures.items()] + [""]
    (folder / "MODEL_CARD.md").write_text("\n".join(lines), encoding="utf-8")
