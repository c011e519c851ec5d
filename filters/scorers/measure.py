"""One decode, all its scorers: the passes, with what the scorers share computed once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from filters.scorers.domain import Scores
from filters.scorers.planes import NativePlanes, Row, ScaledPlanes
from filters.scorers.registry import SCORERS
from filters.scorers.scorer import Reads
from flywheel.encoders.ocr import TextReader
from flywheel.images.views import LumaView, NativeView, ScaledView


def names_reading(reads: Reads) -> tuple[str, ...]:
    """The scorers of one pass, in the order of the registry."""
    return tuple(scorer.name for scorer in SCORERS.values() if scorer.reads == reads)


def measure_scaled(view: ScaledView, names: Iterable[str] | None = None) -> dict[str, Row]:
    """Rows by scorer name; all scaled scorers unless `names` are given. Raises KeyError for an unknown name."""
    return _measured("scaled", ScaledPlanes(view), names)


def measure_native(view: LumaView, names: Iterable[str] | None = None) -> dict[str, Row]:
    """Rows by scorer name; all native scorers unless `names` are given. Raises KeyError for an unknown name."""
    return _measured("native", NativePlanes(view), names)


def measure_ocr(view: NativeView, reader: TextReader) -> dict[str, Row]:
    """The OCR row. `reader` is `flywheel.encoders.ocr.rapid_reader()` or a stand-in."""
    return _measured("ocr", reader.read(view.rgb), None)


def measure_scores(scores: Scores, names: Iterable[str] | None = None) -> dict[str, Row]:
    """Rows of the scorers that read other scores: `scores` maps their columns to values."""
    return _measured("scores", scores, names)


def wide(rows: dict[str, Row]) -> Scores:
    """One wide row of several scorers' rows; no two scorers share a column's name."""
    return {column: value for row in rows.values() for column, value in row.items()}


def _measured(reads: Reads, source: Any, names: Iterable[str] | None) -> dict[str, Row]:
    rows: dict[str, Row] = {}
    for name in names_reading(reads) if names is None else names:
        measure = SCORERS[name].measure
        assert SCORERS[name].reads == reads, f"{name} does not read {reads}"
        assert measure is not None, f"{name} is measured by a model"
        rows[name] = measure(source)
    return rows
