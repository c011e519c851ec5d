"""Feedback, and what it is about, from a file: published kinds are known by their form, any other table by its columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flywheel.errors import UsageError
from flywheel.rows import json_document, json_lines, parquet, table
from flywheel.signals import generated, geneval_sheet, human_scores, mapped
from flywheel.signals.columns import Columns
from flywheel.signals.feedback import Feedback
from flywheel.signals.generated import Generated

Row = tuple[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A file as it was read: `rows` with their places, where it is a table; else the whole `document`."""

    place: str
    rows: tuple[Row, ...] = ()
    document: Any = None

    @property
    def columns(self) -> frozenset[str]:
        return frozenset(self.rows[0][1]) if self.rows else frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """`fits`: whether a file is of this kind."""

    says: str
    fits: Callable[[Told], bool]
    read: Callable[[Told, Columns], Iterator[Feedback]]


# The first that fits is taken.
SIGNALS: Mapping[str, Signal] = {
    geneval_sheet.SOURCE: Signal(
        says="what raters counted, coloured and placed in each picture",
        fits=lambda told: told.columns >= geneval_sheet.COLUMNS,
        read=lambda told, _: geneval_sheet.read(told.rows),
    ),
    human_scores.TIFA: Signal(
        says="how faithful people find each picture, of five",
        fits=lambda told: human_scores.is_tifa(told.document),
        read=lambda told, _: human_scores.tifa(told.document, told.place),
    ),
    human_scores.IMAGE_REWARD: Signal(
        says="in which order people put the pictures of a prompt",
        fits=lambda told: human_scores.is_image_reward(told.document),
        read=lambda told, _: human_scores.image_reward(told.document, told.place),
    ),
    "table": Signal(
        says="a row a picture: prompt, score, facets, whatever its columns are called",
        fits=lambda told: bool(told.rows),
        read=lambda told, columns: mapped.read(told.rows, columns, "table"),
    ),
}


def feedback_of(path: Path, columns: Columns) -> list[Feedback]:
    """All that the file says. Raises UsageError, naming the place, for what none of SIGNALS reads."""
    told = _told(path)
    kind = next((one for one in SIGNALS.values() if one.fits(told)), None)
    found = list(kind.read(told, columns)) if kind else []
    if not found:
        raise UsageError(f"{path}: no feedback is in it; {', '.join(SIGNALS)} are read")
    return found


def generated_of(path: Path, columns: Columns) -> list[Generated]:
    """All pictures that the table names. Raises UsageError, naming the place, for what is no table of pictures."""
    found = list(generated.read(_told(path).rows, columns))
    if not found:
        raise UsageError(f"{path}: no picture is in it; a table is wanted, a row a picture")
    return found


def _told(path: Path) -> Told:
    """Raises UsageError for a file that is no table and no JSON."""
    suffix = path.suffix.lower()
    if suffix == ".json":
        return _of_document(str(path), json_document(path))
    readers: Mapping[str, Callable[[Path], Iterator[Row]]] = {
        ".jsonl": json_lines,
        ".ndjson": json_lines,
        ".csv": lambda path: table(path, ","),
        ".tsv": lambda path: table(path, "\t"),
        ".parquet": parquet,
    }
    if suffix not in readers:
        raise UsageError(f"{path}: tables come as .json, {', '.join(readers)}")
    return Told(place=str(path), rows=tuple(readers[suffix](path)))


def _of_document(place: str, document: Any) -> Told:
    """A list of objects is a table, unless it is one of the published kinds."""
    is_table = isinstance(document, list) and all(isinstance(row, dict) for row in document)
    if is_table and not human_scores.is_image_reward(document):
        return Told(place=place, rows=tuple((f"{place}: row {at}", row) for at, row in enumerate(document, 1)))
    return Told(place=place, document=document)
