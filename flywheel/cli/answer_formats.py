"""The answer of `flywheel sql` in each format, written as it is read: none of them is ever held whole."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from datetime import date, datetime
from decimal import Decimal
from typing import Any, BinaryIO, TextIO

import pyarrow as pa

from flywheel.cli.visible import escaped

# Our choice: Parquet is read by row groups, and batches are a few thousand rows.
_ROW_GROUP_BYTES = 16 << 20


def write_json(batches: Iterable[pa.RecordBatch], out: TextIO) -> None:
    """A list of one object a row, a line each."""
    between = "[\n "
    for batch in batches:
        for row in zip(*(plain_values(column) for column in batch.columns), strict=True):
            line = json.dumps(dict(zip(batch.schema.names, row, strict=True)), ensure_ascii=False, allow_nan=False)
            out.write(between + escaped(line))
            between = ",\n "
    out.write("[]\n" if between == "[\n " else "\n]\n")


def write_csv(schema: pa.Schema, batches: Iterable[pa.RecordBatch], out: BinaryIO) -> None:
    """With what CSV has no form for as text: lists and structs as JSON, bytes as hexadecimal digits."""
    import pyarrow.csv

    flat = pa.schema([(field.name, field.type if _in_csv(field.type) else pa.string()) for field in schema])
    with pyarrow.csv.CSVWriter(out, flat) as writer:
        for batch in batches:
            columns = [
                column if _in_csv(column.type) else pa.array(map(_text, plain_values(column)), pa.string())
                for column in batch.columns
            ]
            writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=flat))


def write_parquet(schema: pa.Schema, batches: Iterable[pa.RecordBatch], out: BinaryIO) -> None:
    import pyarrow.parquet

    with pyarrow.parquet.ParquetWriter(out, schema) as writer:
        for group in _groups(batches):
            writer.write_table(pa.Table.from_batches(group, schema))


def plain_values(column: pa.Array, keep_nan: bool = False) -> list[Any]:
    """A column as JSON holds it, which has no NaN and no infinity. Dates that Python cannot say are written by Arrow."""
    try:
        return [_plain(value, keep_nan) for value in column.to_pylist(maps_as_pydicts="lossy")]
    except (OverflowError, ValueError):
        return list(column.cast(pa.string()).to_pylist())


def _plain(value: Any, keep_nan: bool) -> Any:
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if keep_nan or math.isfinite(value) else None
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, datetime | date):
        return value.isoformat(" ") if isinstance(value, datetime) else value.isoformat()
    if isinstance(value, list):
        return [_plain(part, keep_nan) for part in value]
    if isinstance(value, dict):
        return {str(name): _plain(part, keep_nan) for name, part in value.items()}
    return str(value)


def _text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _in_csv(kind: pa.DataType) -> bool:
    odd = pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind)
    return not (odd or isinstance(kind, pa.BaseExtensionType))


def _groups(batches: Iterable[pa.RecordBatch]) -> Iterator[list[pa.RecordBatch]]:
    held: list[pa.RecordBatch] = []
    size = 0
    for batch in batches:
        held.append(batch)
        size += batch.nbytes
        if size >= _ROW_GROUP_BYTES:
            yield held
            held, size = [], 0
    yield held
