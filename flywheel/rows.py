"""Rows of a user's file, each with the line to blame."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flywheel.errors import UsageError


def json_lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """(place, object) a line. Raises UsageError for a line that is no JSON object."""
    for number, line in enumerate(_text(path).splitlines(), 1):
        if not line.strip():
            continue
        place = f"{path}:{number}"
        row = _json(line, place)
        if not isinstance(row, dict):
            raise UsageError(f"{place}: a JSON object a line is wanted")
        yield place, row


def json_document(path: Path) -> Any:
    """The whole file. Raises UsageError for what is no JSON."""
    return _json(_text(path), str(path))


def table(path: Path, delimiter: str) -> Iterator[tuple[str, dict[str, str]]]:
    """(place, row by column). Raises UsageError for a row that is longer than the header."""
    reader = csv.DictReader(_text(path).splitlines(keepends=True), delimiter=delimiter)
    for row in reader:
        place = f"{path}:{reader.line_num}"
        if None in row:
            raise UsageError(f"{place}: more columns than the header names")
        yield place, {name: value or "" for name, value in row.items()}


def parquet(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """(place, row by column). Raises UsageError for what is no Parquet."""
    import pyarrow.parquet as pq  # slow to load, and most commands read none
    from pyarrow import ArrowException

    try:
        with pq.ParquetFile(path) as file:
            number = 0
            for batch in file.iter_batches():
                for row in batch.to_pylist():
                    number += 1
                    yield f"{path}:{number}", row
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}") from error
    except ArrowException as error:
        raise UsageError(f"{path}: no Parquet: {' '.join(str(error).split())}") from error


def need(row: dict[str, Any], name: str, kind: type, place: str) -> Any:
    """The value of a field. Raises UsageError where it is missing or of another type."""
    value = row.get(name)
    if not isinstance(value, kind) or isinstance(value, bool) or value in ("", []):
        raise UsageError(f"{place}: {name!r} is missing, or is no {kind.__name__}")
    return value


def _json(text: str, place: str) -> Any:
    try:
        return json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        why = error.msg if isinstance(error, json.JSONDecodeError) else "nested too deep"
        raise UsageError(f"{place}: no JSON: {why}") from error


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: no UTF-8 text") from error
