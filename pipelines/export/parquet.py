"""Parquet: one typed row an image, its bytes in a column that Hugging Face `datasets` decodes by itself."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from flywheel.workspace.storage import Store
from pipelines.export.journal import Written
from pipelines.export.records import Read, Record
from pipelines.export.shards import plan
from pipelines.export.writer import FileShards, write_hashed

# Our choice: what a reader of a single row must fetch, and what the writer holds.
_GROUP_BYTES = 32 << 20
_GROUP_IMAGES = 100

# How `datasets` stores an Image, and what it must find in the schema to know one.
_IMAGE = pa.struct({"bytes": pa.binary(), "path": pa.string()})
_FEATURES = {b"huggingface": json.dumps({"info": {"features": {"image": {"_type": "Image"}}}}).encode()}


class ParquetWriter(FileShards):
    """Files `data/00000.parquet`; `told` are the columns beside the image."""

    def __init__(self, store: Store, told: pa.Schema) -> None:
        super().__init__(store)
        self._schema = pa.schema([pa.field("image", _IMAGE), *told], metadata=_FEATURES)

    def write(self, shard: str, records: Sequence[Record], read: Read) -> Written:
        return write_hashed(self.store, f"data/{shard}.parquet", self._chunks(records, read))

    def _chunks(self, records: Sequence[Record], read: Read) -> Iterator[bytes]:
        sink = _Sink()
        # The images are compressed already, and the rest is little.
        with pq.ParquetWriter(
            sink, self._schema, compression={"image.bytes": "none"}, use_dictionary=False, write_statistics=False
        ) as writer:
            sizes = [int(record.told["bytes"]) for record in records]
            for group in plan([""] * len(records), sizes, _GROUP_BYTES, _GROUP_IMAGES):
                writer.write_table(self._rows(records[group.start : group.stop], read))
                yield sink.taken()
        yield sink.taken()

    def _rows(self, records: Sequence[Record], read: Read) -> pa.Table:
        rows = [{"image": {"bytes": read(r), "path": r.file_name}, **r.told} for r in records]
        return pa.Table.from_pylist(rows, schema=self._schema)


class _Sink(io.RawIOBase):
    """A file that is drained as it grows, so that a shard is never in memory whole."""

    def __init__(self) -> None:
        self._pending: list[bytes] = []
        self._written = 0

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        chunk = bytes(data)  # type: ignore[call-overload]
        self._pending.append(chunk)
        self._written += len(chunk)
        return len(chunk)

    def tell(self) -> int:
        return self._written

    def taken(self) -> bytes:
        chunk = b"".join(self._pending)
        self._pending.clear()
        return chunk
