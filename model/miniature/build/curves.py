"""What a generator could draw at each checkpoint of its run: the card's curves."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from model.miniature import drawing_exam
from model.mmdit import MMDiT
from model.sample import ImageModel
from model.train.checkpoint import checkpoints, facts_of, load_checkpoint

_AVERAGE = "average/"
_LEVELS = ("L1", "L2", "L3", "L4", "L5", "L5, two lines")
_SMOOTHED = 50  # steps that a loss is the mean of
Curve = Sequence[Mapping[str, float]]


def curve(run: Path, base: ImageModel, number: int, role: str, most: int) -> Curve:
    """At up to `most` checkpoints, the last among them: step, loss, and the share of each suite that is wholly right."""
    losses = [json.loads(line)["loss"] for line in (run / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    places = checkpoints(run)
    apart = -(-len(places) // most)
    return [_point(place, losses, base, number, role) for place in places[::-1][::apart][::-1]]


def _point(place: Path, losses: Sequence[float], base: ImageModel, number: int, role: str) -> Mapping[str, float]:
    step = int(facts_of(place)["step"])
    seen = losses[max(0, step - _SMOOTHED) : step]
    make = drawing_exam.as_usual(replace(base, network=_averaged(place, base.network)))
    told: dict[str, float] = {"step": step, "loss": sum(seen) / len(seen)}
    for level in _LEVELS:
        told[level] = drawing_exam.drawn_right(make, level, number, role, 0).exact
    for name, pairs in drawing_exam.edit_suites(number, role).items():
        told[f"edits of {name}"] = drawing_exam.edited_right(make, pairs, 0).exact
    return told


def _averaged(place: Path, like: MMDiT) -> MMDiT:
    network = MMDiT(like.config)
    stored = load_checkpoint(place)
    network.load_state_dict(
        {name.removeprefix(_AVERAGE): one for name, one in stored.items() if name.startswith(_AVERAGE)}
    )
    return network.eval()
