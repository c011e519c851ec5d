"""Recipes: everything that a training run is made of, as one frozen record whose hash names it.

The stages and their numbers are Table 2 of the 2.0 report; what it leaves blank (betas, warm-up, averaging, how steps are split
between resolutions) says "our choice".
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from types import MappingProxyType
from typing import Any, Literal, get_type_hints

import torch

from flywheel.errors import UsageError
from flywheel.seeds import stable_hash
from model.flow import Flow
from model.layout import TOKEN_PX
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
class Recipe:
    """`tokens` a batch, padding counted, text included; `accumulate` batches make a step, shared by the workers.

    `draws`: noises under which a sample is seen in a step. They share one reading of the prompt, which costs as much as the
    picture where pictures are small. `dtype` auto: bfloat16 where the device has units for it, else float32.

    `begins` anew: a network of `network`'s shape; from weights: the model's own, and of its shape.
    `resolutions` are sides of squares, px: an image goes to the largest that it reaches, in its own aspect ratio's bucket.
    `edits` is the share of batches that are edits, `dropout` that of prompts replaced by the null prompt.
    """

    name: str
    says: str
    begins: Literal["anew", "weights"] = "weights"
    network: MMDiTConfig = field(default_factory=MMDiTConfig)
    flow: Flow = field(default_factory=Flow)
    optimizer: Optimizer = field(default_factory=Optimizer)
    guard: GuardConfig = field(default_factory=GuardConfig)
    steps: int
    resolutions: tuple[int, ...]
    edits: float
    dropout: float = 0.1
    tokens: int
    accumulate: int = 1
    draws: int = 1
    averaging: float = 0.9999
    dtype: Literal["auto", "bfloat16", "float32"] = "auto"
    checkpointing: bool = False
    compile: bool = False
    seed: int = 0
    save_every: int = 1000
    show_every: int = 1000
    keep: int = 3

    def __post_init__(self) -> None:
        wrong = [side for side in self.resolutions if side % TOKEN_PX or side <= 0]
        if wrong or not self.resolutions:
            raise ValueError(f"resolutions are multiples of {TOKEN_PX} px, not {wrong or 'none'}")
        if not 0 <= self.edits < 1 or not 0 <= self.dropout < 1 or not 0 <= self.averaging < 1:
            raise ValueError("edits, dropout and averaging are shares from 0 up to, and without, 1")
        if min(self.steps, self.tokens, self.accumulate, self.draws, self.save_every, self.show_every, self.keep) < 1:
            raise ValueError("steps, tokens, accumulate, draws, save_every, show_every and keep are 1 or more")
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


_WITHOUT_CONSEQUENCES = ("says", "save_every", "show_every", "keep")
_MINIATURE = MMDiTConfig(
    num_layers=8, attention_head_dim=48, num_attention_heads=4, context_in_dim=128, axes_dims_rope=(16, 16, 16)
)

_ALL: Sequence[Recipe] = (
    Recipe(
        name="pretrain",
        says="Table 2, pre-training: 700,000 steps at 256 and 512 px, T2I to TI2I 9 to 1",
        begins="anew",
        optimizer=Optimizer(lr=1e-4),
        steps=700_000,
        resolutions=(256, 512),
        edits=0.1,
        tokens=65_536,
    ),
    Recipe(
        name="continual",
        says="Table 2, continual pre-training: 250,000 steps at 512, 1024 and 2048 px, T2I to TI2I 7 to 3",
        optimizer=Optimizer(lr=2e-5),
        steps=250_000,
        resolutions=(512, 1024, 2048),
        edits=0.3,
        tokens=65_536,
    ),
    Recipe(
        name="sft",
        says="Table 2, supervised fine-tuning: 10,000 steps at 512, 1024 and 2048 px, T2I to TI2I 7 to 3",
        optimizer=Optimizer(lr=1e-5, warm_up=100),
        steps=10_000,
        resolutions=(512, 1024, 2048),
        edits=0.3,
        tokens=65_536,
    ),
    Recipe(
        name="miniature",
        says="the rendered world at 96 px on a CPU, from nothing; every number is our choice",
        begins="anew",
        network=_MINIATURE,
        flow=Flow(mean=0.8, base_shift=0.0, max_shift=0.0),
        optimizer=Optimizer(lr=2e-3, muon_lr=4e-3, betas=(0.9, 0.99), weight_decay=0.01, warm_up=100, decay=0.5),
        steps=2_700,
        resolutions=(96,),
        edits=0.1,
        tokens=8_192,
        averaging=0.998,
        save_every=250,
    ),
)

RECIPES: Mapping[str, Recipe] = MappingProxyType({recipe.name: recipe for recipe in _ALL})


def recipe_named(name: str) -> Recipe:
    """Raises UsageError for a name that is none."""
    if name not in RECIPES:
        raise UsageError(f"no recipe {name!r}; there are {', '.join(RECIPES)}")
    return RECIPES[name]


def with_settings(recipe: Recipe, settings: Sequence[str]) -> Recipe:
    """`key=value`, nested by dots (`optimizer.lr=3e-4`); values as in JSON; all at once, so that what must fit together may.

    Raises UsageError, in one line.
    """
    wanted: dict[str, Any] = {}
    for setting in settings:
        key, found, text = setting.partition("=")
        if not found:
            raise UsageError(f"a setting is key=value, not {setting!r}")
        *path, name = key.split(".")
        inside = wanted
        for part in path:
            inside = inside.setdefault(part, {})
        inside[name] = _Set(setting, _value(text))
    try:
        return _changed(recipe, wanted)  # type: ignore[no-any-return]
    except (TypeError, ValueError) as error:
        raise UsageError(f"{' '.join(settings)}: {error}") from error


@dataclass(frozen=True, slots=True)
class _Set:
    """A value, and how it was said."""

    said: str
    value: Any


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _changed(record: Any, wanted: Mapping[str, Any]) -> Any:
    known = [one.name for one in fields(record)]
    changes = {}
    for name, change in wanted.items():
        if name not in known:
            raise ValueError(f"no {name!r}; there are {', '.join(known)}")
        present = getattr(record, name)
        if isinstance(change, _Set):
            changes[name] = _fitting(get_type_hints(type(record))[name], present, change)
        elif is_dataclass(present):
            changes[name] = _changed(present, change)
        else:
            raise ValueError(f"{name} has nothing inside")
    return replace(record, **changes)


def _fitting(kind: Any, present: Any, change: _Set) -> Any:
    """A value of the kind that the field has."""
    value = change.value
    if is_dataclass(present):
        raise ValueError(f"{change.said}: it has settings of its own: name one after a dot")
    if isinstance(present, tuple) and isinstance(value, list):
        return tuple(value)
    if isinstance(present, float) and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    allowed = value is None and type(None) in _options(kind)
    if present is not None and type(value) is not type(present) and not allowed:
        raise ValueError(f"{change.said}: it takes {type(present).__name__}, not {value!r}")
    return value


def _options(kind: Any) -> tuple[Any, ...]:
    return tuple(getattr(kind, "__args__", ()))
