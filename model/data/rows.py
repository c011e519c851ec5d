"""Folders that Hugging Face `datasets` saved: rows with bytes of a picture, a caption and, for edits, bytes of references."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from flywheel.errors import FlywheelError, UsageError
from model.data.examples import IMAGE_KEYS, REFERENCE_KEYS, SAID_KEYS, Example, Offered, first_of


@dataclass(frozen=True, slots=True)
class Cell:
    """Bytes in a row; `place` in a column of several."""

    folder: Path
    split: str
    row: int
    column: str
    place: int | None = None

    def read(self, at_most: int) -> bytes:
        held = _splits(self.folder)[self.split][self.row][self.column]
        data = _bytes_of(held if self.place is None else held[self.place])
        if data is None:
            raise OSError(f"row {self.row} of {self.folder} holds no bytes")
        return data[: at_most + 1]


def is_dataset(folder: Path) -> bool:
    return (folder / "dataset_dict.json").is_file() or all(
        (folder / name).is_file() for name in ("state.json", "dataset_info.json")
    )


def of_dataset(folder: Path, captioned: bool = True) -> Offered:
    """Raises UsageError where `datasets` is missing or no column is a picture, FlywheelError for what it cannot read."""
    found = Offered()
    for split, rows in _splits(folder).items():
        pictures = [name for name in rows.column_names if _is_picture(rows.features[name])]
        if not set(IMAGE_KEYS) & set(pictures):
            raise UsageError(f"{folder} has no picture in a column named {', '.join(IMAGE_KEYS)}")
        for at in range(len(rows)):
            example = _row(folder, split, at, rows[at], pictures, found, captioned)
            if example is not None:
                found.examples.append(example)
    return found


def _row(
    folder: Path, split: str, at: int, row: Mapping[str, Any], pictures: Sequence[str], found: Offered, captioned: bool
) -> Example | None:
    said = first_of(row, SAID_KEYS)
    caption = said.strip() if isinstance(said, str) else ""
    if captioned and not caption:
        found.left_out["without a caption"] += 1
        return None
    held = {name: row[name] for name in pictures}
    image = next(name for name in IMAGE_KEYS if name in pictures)
    reference = next((name for name in REFERENCE_KEYS if held.get(name) is not None), None)
    cells = [Cell(folder, split, at, image)]
    if reference is not None and isinstance(held[reference], list):
        cells += [Cell(folder, split, at, reference, place) for place in range(len(held[reference]))]
    elif reference is not None:
        cells.append(Cell(folder, split, at, reference))
    values = [held[cell.column] if cell.place is None else held[cell.column][cell.place] for cell in cells]
    if any(_bytes_of(value) is None for value in values):
        found.left_out["row without bytes"] += 1
        return None
    return Example(key=f"{split}/{at}", image=cells[0], caption=caption, references=tuple(cells[1:]))


@lru_cache(maxsize=4)
def _splits(folder: Path) -> dict[str, Any]:
    """Rows by split; pictures are left as the bytes that they came as."""
    try:
        import datasets
    except ImportError:
        raise UsageError(f"{folder} was saved by `datasets`, which is not installed: pip install datasets") from None
    try:
        read = datasets.load_from_disk(str(folder))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FlywheelError(f"{folder} cannot be read: {' '.join(str(error).split())[:160]}") from error
    splits = read if isinstance(read, datasets.DatasetDict) else {"rows": read}
    return {name: _undecoded(rows) for name, rows in splits.items()}


def _undecoded(rows: Any) -> Any:
    import datasets

    for name, feature in rows.features.items():
        if _is_picture(feature):
            plain = datasets.Image(decode=False)
            rows = rows.cast_column(name, plain if isinstance(feature, datasets.Image) else datasets.List(plain))
    return rows


def _is_picture(feature: Any) -> bool:
    import datasets

    return isinstance(feature, datasets.Image) or isinstance(getattr(feature, "feature", None), datasets.Image)


def _bytes_of(value: Any) -> bytes | None:
    """A path that a row names instead is not followed."""
    data = value.get("bytes") if isinstance(value, dict) else None
    return data if isinstance(data, bytes) else None
