"""Pictures that a product made, from any table: what was asked of which checkpoint, and where the picture is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from flywheel.errors import UsageError
from flywheel.seeds import stable_hash
from flywheel.signals.columns import Columns, Usual, listed, whole

_TEXTS = ("request_id", "prompt", "enhanced_prompt", "checkpoint", "image")
_SAMPLER = ("width_px", "height_px", "steps")
_USUAL: Usual = {
    "request_id": ("request_id", "generation_id", "generation", "id"),
    "prompt": ("prompt", "caption", "text", "original_prompt"),
    "enhanced_prompt": ("enhanced_prompt", "rewritten_prompt", "revised_prompt"),
    "checkpoint": ("checkpoint", "model", "model_version"),
    "image": ("image", "image_path", "file", "image_url", "url"),
    "references": ("references", "reference"),
    "seed": ("seed",),
    "width_px": ("width_px", "width"),
    "height_px": ("height_px", "height"),
    "steps": ("steps", "num_inference_steps"),
    "guidance": ("guidance", "guidance_scale", "cfg"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Generated:
    """`sampler`: what is known of it, of size, steps and guidance. `request_id`: by what the product knows the picture."""

    prompt: str
    checkpoint: str
    request_id: str = ""
    enhanced_prompt: str = ""
    image: str = ""
    references: tuple[str, ...] = ()
    seed: int | None = None
    sampler: Mapping[str, float] = field(default_factory=dict)

    @property
    def generation_id(self) -> str:
        """Of all that was asked; two pictures of the same question are told apart by how the product calls them."""
        asked = [
            self.checkpoint,
            self.prompt,
            self.enhanced_prompt,
            list(self.references),
            self.seed,
            dict(self.sampler),
        ]
        return stable_hash(["imported", *asked, self.request_id], 32)

    @property
    def missing(self) -> tuple[str, ...]:
        """Fields without which the very picture cannot be made again."""
        return ("seed",) if self.seed is None else ()


def read(rows: Iterable[tuple[str, Mapping[str, Any]]], columns: Columns) -> Iterator[Generated]:
    """One a row. Raises UsageError, naming the place, for a row without prompt or checkpoint, or a value that is none."""
    for place, row in rows:
        found = columns.values(row, _USUAL, place)
        for name in ("prompt", "checkpoint"):
            if found[name] is None:
                raise UsageError(f"{place}: no {name}; name the column, as `--map {name}=COLUMN`")
        numbers = {name: whole(found[name], name, place) for name in _SAMPLER}
        sampler = {name: float(value) for name, value in numbers.items() if value is not None}
        if found["guidance"] is not None:
            sampler["guidance"] = _number(found["guidance"], place)
        texts = {name: str(found[name]) for name in _TEXTS if found[name] is not None}
        yield Generated(
            **texts,
            references=tuple(listed(found["references"])),
            seed=whole(found["seed"], "a seed", place),
            sampler=sampler,
        )


def _number(value: Any, place: str) -> float:
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise UsageError(f"{place}: guidance is a number, not {value!r}") from error
