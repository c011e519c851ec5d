"""The loop that all courses share: two optimizers, one schedule, progress, and a state to go on from after a kill.

A step's lessons depend on the seed and the step's number alone: a course that was killed ends with the weights of one that
was not.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from model.train.muon import Muon

# Our choice, after the trial behind this world: Muon on the matrices of the blocks, AdamW elsewhere.
_MUON_LR, _ADAM_LR, _WEIGHT_DECAY = 2e-3, 2e-3, 0.01
_WARM_UP, _LAST = 50, 0.02  # steps; share of the learning rate at the end
_SAVED_EVERY = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """`loss(step, done)` gives the loss of a step; `done` is the share of the course that lies behind, 0..1.

    `parts` are trained and kept by name; only those of `keeps` outlive the course.
    """

    name: str
    steps: int
    parts: Mapping[str, nn.Module]
    loss: Callable[[int, float], Tensor]
    slower: float = 1.0  # the share of the usual learning rates


Say = Callable[[str], None]


def follow(course: Course, folder: Path, say: Say) -> float:
    """Run a course to its end, from where an earlier run has left it. Weights change in place.

    The processor seconds that the course has taken, those of earlier runs included.
    """
    held = folder / f"{course.name}.state"
    optimizers = _optimizers(course)
    usual = [[group["lr"] for group in optimizer.param_groups] for optimizer in optimizers]
    begun, spent_s = _resumed(course, optimizers, held)
    weights = [weight for part in course.parts.values() for weight in part.parameters()]
    if begun == course.steps:
        return spent_s
    clock, began_s = _Clock(), time.process_time()
    for step in range(begun, course.steps):
        scale = _scale(step, course.steps)
        for optimizer, rates in zip(optimizers, usual, strict=True):
            optimizer.zero_grad(set_to_none=True)
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * scale
        loss = course.loss(step, step / course.steps)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_([weight for weight in weights if weight.grad is not None], 1.0)
        for optimizer in optimizers:
            optimizer.step()
        clock.add(float(loss.detach()))
        if (step + 1) % _SAVED_EVERY == 0 or step + 1 == course.steps:
            _save(course, optimizers, step + 1, spent_s + time.process_time() - began_s, held)
            say(f"{course.name:10} {step + 1:5}/{course.steps} {clock.told()}")
    return spent_s + time.process_time() - began_s


def _optimizers(course: Course) -> list[torch.optim.Optimizer]:
    named = [(name, weight) for part in course.parts.values() for name, weight in _own(part)]
    matrices = [weight for name, weight in named if weight.ndim == 2 and _is_inside(name)]
    inside = {id(weight) for weight in matrices}
    others = [weight for _, weight in named if id(weight) not in inside]
    chosen: list[torch.optim.Optimizer] = []
    if matrices:
        rate = _MUON_LR * course.slower
        chosen.append(Muon(matrices, lr=rate, weight_decay=_WEIGHT_DECAY))
    rate = _ADAM_LR * course.slower
    chosen.append(torch.optim.AdamW(others, lr=rate, betas=(0.9, 0.95), weight_decay=_WEIGHT_DECAY))
    return chosen


def _own(part: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    return ((name, weight) for name, weight in part.named_parameters() if weight.requires_grad)


def _is_inside(name: str) -> bool:
    """Whether it belongs to a block; embeddings and heads are AdamW's."""
    return any(part in name for part in ("layers.", "blocks.", "resblocks.", "merger"))


def _scale(step: int, steps: int) -> float:
    """Up in a few steps, constant to the half, then down in a straight line."""
    left = 2 * (1 - step / steps)
    return min((step + 1) / _WARM_UP, 1.0, max(left, _LAST))


def _save(course: Course, optimizers: Sequence[torch.optim.Optimizer], step: int, spent_s: float, held: Path) -> None:
    state = {
        "step": step,
        "cpu_s": spent_s,
        "parts": {name: part.state_dict() for name, part in course.parts.items()},
        "optimizers": [optimizer.state_dict() for optimizer in optimizers],
    }
    aside = held.with_suffix(".aside")
    torch.save(state, aside)
    os.replace(aside, held)


def _resumed(course: Course, optimizers: Sequence[torch.optim.Optimizer], held: Path) -> tuple[int, float]:
    """The steps behind, and their processor seconds."""
    if not held.exists():
        return 0, 0.0
    state: dict[str, Any] = torch.load(held, weights_only=True)
    for name, part in course.parts.items():
        part.load_state_dict(state["parts"][name])
    for optimizer, kept in zip(optimizers, state["optimizers"], strict=True):
        optimizer.load_state_dict(kept)
    return int(state["step"]), float(state["cpu_s"])


class _Clock:
    """Loss and time since the last word."""

    def __init__(self) -> None:
        self._losses: list[float] = []
        self._began, self._cpu = time.monotonic(), time.process_time()

    def add(self, loss: float) -> None:
        self._losses.append(loss)

    def told(self) -> str:
        mean = sum(self._losses) / len(self._losses)
        steps, self._losses = len(self._losses), []
        cpu = time.process_time() - self._cpu
        self._cpu = time.process_time()
        return f"loss {mean:.4f}  {cpu / steps:.2f} CPU-s a step, {(time.monotonic() - self._began) / 60:.1f} min"


def by_length(sizes: Iterable[int], chunks: int) -> list[list[int]]:
    """Places in order of size, cut into so many runs: rows of like length are padded little."""
    order = [at for _, at in sorted((size, at) for at, size in enumerate(sizes))]
    cut = -(-len(order) // chunks)
    return [order[start : start + cut] for start in range(0, len(order), cut)]
