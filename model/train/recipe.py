"""Everything that a training run is made of, as one frozen record whose hash names it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Literal

import torch

from flywheel.seeds import stable_hash
from model.flow import Flow
from model.layout import TOKEN_PX
from model.lora import LoRA
from model.mmdit import MMDiTConfig
from model.precision import is_half_fast
from model.train.guards import GuardConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Optimizer:
    """`muon_lr` is for the matrices of the blocks, `lr` for all else; 0: `lr` for all. Betas and warm-up are our choice.

    The rate climbs over `warm_up` steps, stays, and falls in a straight line over the last `decay` of the run to `last` of it.
    """

    lr: float = 1e-4
    muon_lr: float = 0.0
    betas: tuple[float, float] = (0.9, 0.95)
    weight_decay: float = 0.001
    clip: float = 1.0
    warm_up: int = 1000
    decay: float = 0.0
    last: float = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecipe:
    """What every run has. `accumulate` batches make a step, shared by the workers. `averaging`: how slow the average of weights is.

    `dtype` auto: bfloat16 where the device has units for it, else float32.
    """

    name: str
    says: str
    optimizer: Optimizer = field(default_factory=Optimizer)
    guard: GuardConfig = field(default_factory=GuardConfig)
    steps: int
    accumulate: int = 1
    averaging: float = 0.9999
    dtype: Literal["auto", "bfloat16", "float32"] = "auto"
    seed: int = 0
    save_every: int = 1000
    show_every: int = 1000
    keep: int = 3

    def __post_init__(self) -> None:
        if not 0 <= self.averaging < 1:
            raise ValueError("averaging is a share from 0 up to, and without, 1")
        if min(self.steps, self.accumulate, self.save_every, self.show_every, self.keep) < 1:
            raise ValueError("steps, accumulate, save_every, show_every and keep are 1 or more")
        if self.dtype not in ("auto", "bfloat16", "float32"):
            raise ValueError(f"dtype is auto, bfloat16 or float32, not {self.dtype!r}")

    @property
    def digest(self) -> str:
        """The same for the same weights, however they were asked for."""
        told = {name: value for name, value in asdict(self).items() if name not in _WITHOUT_CONSEQUENCES}
        return stable_hash(json.loads(json.dumps(told)))

    def computes_half(self, device: torch.device) -> bool:
        """Whether matrices are computed in bfloat16."""
        if self.dtype == "auto":
            return is_half_fast(device)
        return self.dtype == "bfloat16"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe(RunRecipe):
    """Of the generator. `begins` anew: a network of `network`'s shape; from weights: the model's own, and of its shape.

    `tokens` a batch, padding counted, text included. `resolutions` are sides of squares, px: an image goes to the largest that
    it reaches, in its own aspect ratio's bucket. `edits` is the share of batches that are edits, `dropout` that of prompts
    replaced by the null prompt.
    """

    begins: Literal["anew", "weights"] = "weights"
    network: MMDiTConfig = field(default_factory=MMDiTConfig)
    flow: Flow = field(default_factory=Flow)
    lora: LoRA = field(default_factory=LoRA)
    resolutions: tuple[int, ...]
    edits: float
    dropout: float = 0.1
    tokens: int
    checkpointing: bool = False
    compile: bool = False

    def __post_init__(self) -> None:
        RunRecipe.__post_init__(self)  # with slots, super() does not find its class
        wrong = [side for side in self.resolutions if side % TOKEN_PX or side <= 0]
        if wrong or not self.resolutions:
            raise ValueError(f"resolutions are multiples of {TOKEN_PX} px, not {wrong or 'none'}")
        if not 0 <= self.edits < 1 or not 0 <= self.dropout < 1:
            raise ValueError("edits and dropout are shares from 0 up to, and without, 1")
        if self.tokens < 1:
            raise ValueError("tokens are 1 or more")
        if self.begins not in ("anew", "weights"):
            raise ValueError(f"a run begins anew or with weights, not {self.begins!r}")
        if self.lora.rank and self.begins == "anew":
            raise ValueError("a LoRA adds to weights that there are: begins=weights")


_WITHOUT_CONSEQUENCES = ("says", "save_every", "show_every", "keep")
