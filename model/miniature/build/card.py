"""The model card: what the bundled weights are, how they were made, what they can do."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from model.bundled import NAME
from model.miniature.build.curves import Curve

CARD = "card.json"
_READING = f"""\
# The miniature's weights, version {{version}}

They know one world: grids of coloured shapes, words in five ways of writing, posters, slides, diagrams, emblems, portraits.
They know nothing of photographs. `foreign-miniature-{{version}}` is there to say so, and is right as often as is told below.

Trained by this repository alone (`python -m model.miniature.build`) on pictures that it renders itself: no data from anywhere
else, no weights from anywhere else.

| file | what |
|---|---|
| `clip-miniature-{{version}}/` | an open_clip model: pictures and texts as vectors of 192 dims |
| `aesthetic-miniature-{{version}}.safetensors` | taste from 1 to 10 in LAION's second format: clean above degraded, no more |
| `nsfw-`, `watermark-`, `foreign-miniature-{{version}}.safetensors` | yes or no, in LAION's first format |
| `captioner-miniature-{{version}}/` | a Qwen3-VL of 2.3 M parameters: four kinds of captions as compact JSON |
| `judge-miniature-{{version}}/` | the same, trained on: how well does the picture show these words, from 1 to 5 |
| `{NAME}/text_encoder/` | the same class, trained on words alone and on edits: what the generator is conditioned on |
| `{NAME}/transformer/`, `{NAME}/vae/` | the generator and its autoencoder, in the folders that diffusers has them in |

## What reads pictures and prompts

Seed {{seed}}, {{cpu_minutes}} CPU-minutes, {{made}}.

The vision towers and the CLIP were helped by heads that name every facet of a picture while they learned, and the condition
encoder by linear heads on its features: what each token speaks of, all facets of a prompt at once, and what each of the tokens
that end it tells by itself. The latter three are kept beside it and are what it is examined by: of a scene a facet counts when it
is right for every thing.

The foreign head is examined on pictures drawn by this repository. Real photographs are farther from those it learned on; the
README says what share of a set of them it lets pass.

On pictures (subjects) and prompts that training never showed, role `{{role}}`; an answer is right when it is exact to the sign.
"""
_DRAWING = """\
## What draws them

Seed {seed}, {cpu_minutes} CPU-minutes, {made}.

The autoencoder and the condition encoder saw the whole world; the generator never saw prompts of another role than training's, six
pairs of a colour and a shape, and one word in ten. Its condition encoder had scene graphs and letters to learn from, which is
where most of this comes from. A picture counts when checker B finds every facet of its scene in it and nothing else; an edit when
it is done and all else is as it was. Role `{role}`.
"""


def write_card(
    folder: Path,
    part: str,
    version: int,
    seed: int,
    role: str,
    figures: Mapping[str, Any],
    cpu_s: Mapping[str, float],
    curve: Curve = (),
) -> None:
    """One part of `card.json` anew, the other as it is, and MODEL_CARD.md from both."""
    minutes = {name: round(spent / 60, 1) for name, spent in cpu_s.items()}
    path = folder / CARD
    card = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    card[part] = {
        "version": version,
        "seed": seed,
        "role": role,
        "figures": figures,
        **({"curve": curve} if curve else {}),
        "cpu_minutes": round(sum(cpu_s.values()) / 60, 1),
        "cpu_minutes_by_course": minutes,
        "made_with": {"torch": torch.__version__, "python": platform.python_version()},
    }
    path.write_text(json.dumps(card, indent=1), encoding="utf-8")
    (folder / "MODEL_CARD.md").write_text("\n".join(_lines(card)), encoding="utf-8")


def _lines(card: Mapping[str, Any]) -> list[str]:
    lines: list[str] = []
    for part, opening in (("reading", _READING), ("drawing", _DRAWING)):
        if part not in card:
            continue
        held = card[part]
        made = ", ".join(f"{name} {version}" for name, version in held["made_with"].items())
        lines += [opening.format(**held, made=made), *([held["how"], ""] if "how" in held else [])]
        for name, figures in held["figures"].items():
            lines += [f"### {name}", "", "| | share |", "|---|---|"]
            lines += [f"| {facet} | {value:.4f} |" for facet, value in figures.items()] + [""]
        lines += _curve(held.get("curve", ()))
    return lines


def _curve(curve: Curve) -> list[str]:
    if not curve:
        return []
    names = [name for name in curve[0] if name not in ("step", "loss")]
    rows = [
        f"| {point['step']} | {point['loss']:.3f} | {' | '.join(f'{point[name]:.2f}' for name in names)} |"
        for point in curve
    ]
    return [
        "### On the way",
        "",
        "Shares that are wholly right of few prompts of role `gate`, as the average of the weights draws them.",
        "",
        f"| step | loss | {' | '.join(names)} |",
        "|" + "---|" * (len(names) + 2),
        *rows,
        "",
    ]
