"""Compaction: the small files of a table become few large ones, as one commit behind a fence.

Not by delta-rs' own `optimize.compact`: it drops the app transactions of its commit, and two of them at once
are both accepted although both replace the same files (a removal that changes no data counts as no conflict).
Every row would then be there twice. Here the commit carries the fence that every rewrite of a table carries,
so that of two from one snapshot the second is refused; rows that others append meanwhile stay beside it.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Transaction
from deltalake.transaction import AddAction, RemoveAction

from flywheel.workspace.storage import Store

if TYPE_CHECKING:
    from pyarrow.parquet import FileMetaData  # loaded where something is compacted: a question only opens tables

_FENCE = "rewrite"
# Our choice: large enough that a table of a million rows is a handful of files, small enough to be held.
_TARGET_BYTES = 64 << 20
_ROW_GROUP_BYTES = 32 << 20
_BATCH_ROWS = 10_000
# Statistics of other columns would keep captions and URIs readable in the log after they were forgotten.
WITH_STATISTICS = frozenset({"image_id", "subject_id", "step", "version", "seq", "run_id"})


@dataclass(frozen=True, slots=True)
class _File:
    """A data file as the log names it."""

    path: str
    size: int


def rewriting(table: DeltaTable, metadata: Mapping[str, str]) -> CommitProperties:
    """The properties of a commit that replaces files of exactly this snapshot of the table."""
    mark = Transaction(_FENCE, (table.transaction_version(_FENCE) or 0) + 1)
    return CommitProperties(custom_metadata=dict(metadata), app_transactions=[mark])


def compact(table: DeltaTable, store: Store, name: str) -> bool:
    """Merge the small files of this snapshot; returns whether there were any.

    `store` holds the table in the folder `name`. Raises CommitFailedError when somebody else replaced files of
    this snapshot meanwhile: nothing has changed then, and the next compaction finds what is left.
    """
    if table.protocol().min_reader_version > 1:  # another program uses features that we would not keep
        return False
    groups = _groups(_files(table))
    added: list[AddAction] = []
    try:
        for group in groups:
            added.append(_merged(table, store, name, group))
        if added:
            _commit(table, added, [file for group in groups for file in group])
    except BaseException:
        for file in added:
            with suppress(FileNotFoundError):
                store.delete(f"{name}/{file.path}")
        raise
    return bool(added)


def _commit(table: DeltaTable, added: Sequence[AddAction], removed: Sequence[_File]) -> None:
    now_ms = time.time_ns() // 1_000_000
    actions = [*added, *(RemoveAction(file.path, False, now_ms, file.size, {}) for file in removed)]
    properties = rewriting(table, {"compaction": f"{len(removed)} files became {len(added)}"})
    table.create_write_transaction(actions, "append", table.schema(), commit_properties=properties)


def _files(table: DeltaTable) -> list[_File]:
    actions = pa.table(table.get_add_actions(flatten=True)).select(["path", "size_bytes"])
    return [_File(row["path"], row["size_bytes"]) for row in actions.to_pylist()]


def _groups(files: Sequence[_File]) -> list[list[_File]]:
    """Small files that become one, together no larger than the target; a file alone stays as it is."""
    groups: list[list[_File]] = [[]]
    held = 0
    for file in files:
        if file.size >= _TARGET_BYTES:
            continue
        if held + file.size > _TARGET_BYTES:
            groups.append([])
            held = 0
        groups[-1].append(file)
        held += file.size
    return [group for group in groups if len(group) > 1]


def _merged(table: DeltaTable, store: Store, name: str, group: Sequence[_File]) -> AddAction:
    import pyarrow.parquet as pq

    schema = pa.schema(table.schema().to_arrow())
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, schema, compression="zstd") as writer:
        for rows in _row_groups(store, [f"{name}/{file.path}" for file in group], schema):
            writer.write_table(rows)
    data = sink.getvalue()
    path = f"part-{secrets.token_hex(16)}.zstd.parquet"
    store.write_new(f"{name}/{path}", data.to_pybytes())
    statistics = json.dumps(_statistics(pq.read_metadata(pa.BufferReader(data)), schema))
    return AddAction(path, data.size, {}, time.time_ns() // 1_000_000, False, statistics)


def _row_groups(store: Store, paths: Sequence[str], schema: pa.Schema) -> Iterator[pa.Table]:
    import pyarrow.parquet as pq

    held, size = [schema.empty_table()], 0
    for path in paths:
        with store.open(path) as stream, pq.ParquetFile(stream) as file:
            for batch in file.iter_batches(_BATCH_ROWS):
                held.append(_shaped(batch, schema))
                size += held[-1].nbytes
                if size >= _ROW_GROUP_BYTES:
                    yield pa.concat_tables(held).combine_chunks()
                    held, size = [schema.empty_table()], 0
    yield pa.concat_tables(held).combine_chunks()


def _shaped(batch: pa.RecordBatch, schema: pa.Schema) -> pa.Table:
    """The batch with the table's columns: older files lack some, and delta-rs writes views of text."""
    columns = [
        batch.column(field.name).cast(field.type)
        if field.name in batch.schema.names
        else pa.nulls(batch.num_rows, field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def _statistics(written: FileMetaData, schema: pa.Schema) -> dict[str, Any]:
    """What the log says of a file: rows, and the range of the columns that may be named in it."""
    told: dict[str, Any] = {"numRecords": written.num_rows, "minValues": {}, "maxValues": {}, "nullCount": {}}
    groups = [written.row_group(number) for number in range(written.num_row_groups)]
    for number in range(written.num_columns):
        name = written.schema.column(number).path
        parts = [group.column(number).statistics for group in groups]
        if name in WITH_STATISTICS and all(part is not None and part.has_min_max for part in parts):
            told["minValues"][name] = min(part.min for part in parts)
            told["maxValues"][name] = max(part.max for part in parts)
            told["nullCount"][name] = sum(part.null_count for part in parts)
    return told
