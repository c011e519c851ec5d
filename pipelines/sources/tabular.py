"""Listings: Parquet, JSONL, CSV and TSV that name images by path or URL, or carry their bytes (Parquet).

Streamed in batches. A line that cannot be read, or a row without a place, becomes one refused item with its
line number (counted from 1, header included) or row number (counted from 0 in Parquet). The rules for columns
and places are those of `rows`.
"""

from __future__ import annotations

import csv
import io
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, BinaryIO, TextIO

import pyarrow as pa
import pyarrow.parquet as pq

from flywheel.errors import SourceError
from flywheel.records import Reason, SourceItem
from flywheel.workspace.storage import open_uri
from pipelines.sources.items import Place, refused, with_fragment
from pipelines.sources.rows import BYTES_KEYS, PLACE_KEYS, Columns, bad_row, items_of_rows, place_columns

_UTF8_MARK = b"\xef\xbb\xbf"

Numbered = tuple[int, Mapping[str, Any] | str]
"""A row number with the row's fields, or with what is wrong with it."""


def matches_parquet(place: Place) -> bool:
    return not place.is_folder and place.head.startswith(b"PAR1")


def matches_jsonl(place: Place) -> bool:
    """By its name, or because the first line is a whole JSON object."""
    if place.is_folder:
        return False
    if place.uri.lower().endswith((".jsonl", ".ndjson")):
        return True
    first = place.head.removeprefix(_UTF8_MARK).lstrip().split(b"\n", 1)[0]
    return first.startswith(b"{") and isinstance(_json_fields(first), dict)


def matches_csv(place: Place) -> bool:
    """By its name, or because the first line is a header with a known place column."""
    if place.is_folder:
        return False
    if place.uri.lower().endswith((".csv", ".tsv")):
        return True
    first = place.head.removeprefix(_UTF8_MARK).split(b"\n", 1)[0].strip().lower()
    cells = [cell.strip(b"\"' ") for cell in first.replace(b"\t", b",").split(b",")]
    return len(cells) > 1 and any(key.encode() in cells for key in PLACE_KEYS)


def read_parquet(place: Place) -> Iterator[SourceItem]:
    """Raises SourceError when the file cannot be opened or names no images at all."""
    with open_uri(place.uri) as stream:
        try:
            table = pq.ParquetFile(stream)
            schema = table.schema_arrow
        except (pa.ArrowException, OSError) as error:
            raise SourceError(f"{place.uri} is not a readable Parquet file: {error}") from error
        columns = columns_of_schema(schema)
        if not columns:
            raise SourceError(_no_columns(place, schema.names))
        wanted = [field.name for field in schema if field.name in columns.inline or not _is_heavy(field.type)]
        size = place.limits.batch_inline_rows if columns.inline else place.limits.batch_rows
        yield from items_of_batches(place, columns, table.iter_batches(batch_size=size, columns=wanted), size)


def items_of_batches(
    place: Place, columns: Columns, batches: Iterator[pa.RecordBatch], size: int
) -> Iterator[SourceItem]:
    """Items of Arrow batches, `size` rows at a time; damage ends the reading with one refused item."""
    row = 0
    while True:
        try:
            batch = next(batches, None)
            if batch is None:
                return
            batch = pa.record_batch([_readable(column) for column in batch.columns], names=batch.schema.names)
            slices = [batch.slice(at, size).to_pylist for at in range(0, batch.num_rows, size)]
        except (pa.ArrowException, OSError) as error:
            detail = f"unreadable after row {row}: {error}"
            uri = with_fragment(place.uri, "broken")
            yield refused(place, uri, place.stored.fingerprint, Reason.TRUNCATED, detail)
            return
        for rows_of in slices:
            rows = list(enumerate(rows_of(), start=row))
            row += len(rows)
            yield from items_of_rows(place, columns, rows)


def _readable(column: pa.Array) -> pa.Array:
    """A checked column that Python can hold: times as text, text that is not UTF-8 mended.

    Raises ArrowInvalid for a column whose buffers do not hold together.
    """
    kind = column.type
    if pa.types.is_timestamp(kind):
        # Without its zone first: the zone's name comes from the file and need not exist.
        return column.cast(pa.timestamp(kind.unit)).cast(pa.string())
    if pa.types.is_date(kind) or pa.types.is_time(kind):
        return column.cast(pa.string())
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        try:
            column.validate(full=True)
        except pa.ArrowInvalid:
            raw = column.cast(pa.large_binary())
            raw.validate(full=True)
            mended = (None if value is None else value.decode("utf-8", "replace") for value in raw.to_pylist())
            return pa.array(list(mended), pa.string())
    column.validate(full=True)
    return column


def columns_of_schema(schema: pa.Schema) -> Columns:
    """Bytes columns by type (binary under a known name, or a struct with bytes), places among the strings."""
    inline = tuple(field.name for field in schema if _holds_image_bytes(field))
    return Columns(inline, place_columns([field.name for field in schema if _is_text(field.type)]))


def _holds_image_bytes(field: pa.Field) -> bool:
    if pa.types.is_struct(field.type):
        return any(child.name == "bytes" and _is_binary(child.type) for child in field.type)
    return field.name.lower() in BYTES_KEYS and _is_binary(field.type)


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return _is_text(kind.value_type)
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _is_binary(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _is_heavy(kind: pa.DataType) -> bool:
    """Columns that no item uses: lists, structs, bytes of something else, spans of time."""
    spans = pa.types.is_duration(kind) or pa.types.is_interval(kind)
    return bool(pa.types.is_nested(kind) or _is_binary(kind) or spans)


def _no_columns(place: Place, names: Sequence[str]) -> str:
    return (
        f"{place.uri} has no column that says where images are: found {', '.join(names[:12]) or 'none'}; "
        f"known are {', '.join(PLACE_KEYS)} and, with bytes, {', '.join(BYTES_KEYS)}"
    )


def read_jsonl(place: Place) -> Iterator[SourceItem]:
    with open_uri(place.uri) as stream:
        yield from _items(place, _json_rows(stream, place.limits.max_sidecar_bytes))


def read_csv(place: Place) -> Iterator[SourceItem]:
    """Raises SourceError when there is no header, or it names no place column."""
    with open_uri(place.uri) as stream:
        # Lines may end as on old Macs. Paths may hold any byte, so undecodable ones must survive until they name a file.
        text = io.TextIOWrapper(stream, "utf-8-sig", "surrogateescape", newline="")
        yield from _items(place, _csv_rows(text, place))


def _items(place: Place, numbered: Iterator[Numbered]) -> Iterator[SourceItem]:
    while batch := list(itertools.islice(numbered, place.limits.batch_rows)):
        for bad, group in itertools.groupby(batch, key=lambda entry: isinstance(entry[1], str)):
            if bad:
                yield from (bad_row(place, number, str(why)) for number, why in group)
                continue
            rows = [(number, fields) for number, fields in group if not isinstance(fields, str)]
            names = list(dict.fromkeys(name for _, fields in rows for name in fields))
            yield from items_of_rows(place, Columns((), place_columns(names)), rows)


def _lines(stream: BinaryIO, max_bytes: int) -> Iterator[tuple[int, bytes | None]]:
    """Numbered lines; None for a line that is too long, which is passed over without being held."""
    for number in itertools.count(1):
        line = stream.readline(max_bytes + 1)
        if not line:
            return
        if len(line) <= max_bytes:
            yield number, line.removeprefix(_UTF8_MARK) if number == 1 else line
            continue
        while line and not line.endswith(b"\n"):
            line = stream.readline(max_bytes)
        yield number, None


def _json_rows(stream: BinaryIO, max_bytes: int) -> Iterator[Numbered]:
    for number, line in _lines(stream, max_bytes):
        if line is None:
            yield number, f"longer than {max_bytes} bytes"
        elif line.strip():
            yield number, _json_fields(line)


def _json_fields(line: bytes) -> Mapping[str, Any] | str:
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError) as error:
        return f"not JSON: {error}"
    return fields if isinstance(fields, dict) else "not a JSON object"


def _text_lines(text: TextIO, max_chars: int) -> Iterator[str]:
    """Lines with their ends; an empty one for a line that is too long, which is passed over without being held."""
    while line := text.readline(max_chars + 1):
        if len(line) <= max_chars:
            yield line
            continue
        while line and not line.endswith(("\n", "\r")):
            line = text.readline(max_chars)
        yield "\n"


def _csv_rows(text: TextIO, place: Place) -> Iterator[Numbered]:
    reader = csv.reader(_text_lines(text, place.limits.max_sidecar_bytes), delimiter=_delimiter(place))
    try:
        header = [name.strip() for name in next(reader, [])]
    except csv.Error as error:
        raise SourceError(f"{place.uri} has no readable header: {error}") from error
    if not place_columns(header):
        raise SourceError(_no_columns(place, header))
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield reader.line_num, f"not CSV: {error}"
            continue
        if cells:
            short = len(cells) != len(header)
            why = f"{len(cells)} cells under {len(header)} columns"
            yield reader.line_num, why if short else dict(zip(header, (cell or None for cell in cells), strict=True))


def _delimiter(place: Place) -> str:
    first = place.head.split(b"\n", 1)[0]
    return "\t" if place.uri.lower().endswith(".tsv") or first.count(b"\t") > first.count(b",") else ","
