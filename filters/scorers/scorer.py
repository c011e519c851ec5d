"""What a scorer is: a name, a version, what it reads, its own table, and how it measures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from filters.scorers.planes import Row
from flywheel.schemas import TableSpec

Reads = Literal["scaled", "native", "ocr", "scores", "model"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scorer:
    """One measured property of an image and the table that keeps it.

    `reads` says which pass gives `measure` its input:
    scaled -> ScaledPlanes, native -> NativePlanes, ocr -> Reading (of flywheel.encoders.ocr),
    scores -> a mapping of the other scorers' columns, None where missing. `model` has neither function nor
    version here: its rows are written by models, at the names of their weights. `measure` is total and deterministic:
    every column of the table (less image_id and version) is there, finite, or None where there is no sign to judge by.
    A change of any number it gives is a new `version`.
    """

    name: str
    version: str
    reads: Reads
    table: TableSpec
    measure: Callable[[Any], Row] | None
    says: str

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(name for name in self.table.schema.names if name not in self.table.key)
