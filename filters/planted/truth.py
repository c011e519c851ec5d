"""What was planted in each file of the sample set, and how it is written down.

The truth lies beside the pictures, never inside the folder that is ingested:
`ROOT/images/...` and `ROOT/truth.jsonl`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from flywheel.records import Reason

TRUTH_FILE = "truth.jsonl"
IMAGES_FOLDER = "images"
OK = "ok"

Domain = Literal["photo", "design", "poster", "slide", "diagram", "document"]

# Faults that a filter is judged on; "rotated" is content turned without EXIF saying so.
FAULTS = ("blur", "flat", "noise", "compression", "rotated")


@dataclass(frozen=True, slots=True, kw_only=True)
class Planted:
    """One file and everything that is true of it by construction.

    `path` is relative to the set's root, with forward slashes. `exact_duplicate_of` names the file whose
    bytes it repeats, `near_duplicate_of` the one whose picture it shows after `edit`.
    `expected` is "ok" or the `Reason` with which ingest must refuse it; `also_right` lists reasons that
    are as true (a header over both the pixel and the side budget breaks either).
    `width_px` and `height_px` are upright, None where the file must not decode.
    `series` names the template that posters and slides share although they are different pictures.
    """

    path: str
    family: str
    domain: Domain | None = None
    exact_duplicate_of: str | None = None
    near_duplicate_of: str | None = None
    edit: str | None = None
    expected: str = OK
    also_right: frozenset[str] = frozenset()
    faults: frozenset[str] = frozenset()
    exif_orientation: int = 1
    width_px: int | None = None
    height_px: int | None = None
    series: str | None = None

    def __post_init__(self) -> None:
        reasons = {OK, *(reason.value for reason in Reason)}
        if not {self.expected, *self.also_right} <= reasons:
            raise ValueError(f"{self.path}: unknown outcome in {sorted({self.expected, *self.also_right})}")
        if not self.faults <= set(FAULTS):
            raise ValueError(f"{self.path}: unknown fault in {sorted(self.faults)}")

    @property
    def decodes(self) -> bool:
        return self.expected == OK


def write_truth(root: Path, planted: Iterable[Planted]) -> Path:
    """Write `ROOT/truth.jsonl`, one file a line, in path order."""
    path = root / TRUTH_FILE
    lines = [_to_json(item) for item in sorted(planted, key=lambda item: item.path)]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def load_truth(root: Path) -> list[Planted]:
    """Read `ROOT/truth.jsonl`; raises FileNotFoundError where the set was never rendered."""
    text = (root / TRUTH_FILE).read_text(encoding="utf-8")
    return [_from_json(line) for line in text.splitlines() if line]


def roots_of(planted: Sequence[Planted]) -> dict[str, str]:
    """Path -> the file that its whole duplicate family descends from (itself for a unique picture)."""
    parent = {item.path: item.exact_duplicate_of or item.near_duplicate_of for item in planted}
    roots: dict[str, str] = {}
    for path in parent:
        top = path
        while (up := parent[top]) is not None:
            top = up
        roots[path] = top
    return roots


def _to_json(item: Planted) -> str:
    row = asdict(item) | {"faults": sorted(item.faults), "also_right": sorted(item.also_right)}
    return json.dumps(row, sort_keys=True, ensure_ascii=True)


def _from_json(line: str) -> Planted:
    row = json.loads(line)
    return Planted(**(row | {"faults": frozenset(row["faults"]), "also_right": frozenset(row["also_right"])}))
