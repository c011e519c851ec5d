"""Lance: one table `images`, written shard by shard through `retrieval.lance_export`."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence

import pyarrow as pa

from flywheel.workspace.places import local_path
from flywheel.workspace.storage import Store
from pipelines.export.journal import Entry, Written
from pipelines.export.records import Read, Record
from retrieval.lance_export import IMAGE, LanceExport

_TABLE = "images.lance"


class LanceWriter:
    """A shard is one commit. Lance names its files at random, so exports agree by rows and not by bytes."""

    def __init__(self, store: Store, told: pa.Schema) -> None:
        location = os.fsdecode(local_path(store.root_uri)) if store.is_local else store.root_uri
        self._schema = pa.schema([told.field("image_id").with_nullable(False), IMAGE, *list(told)[1:]])
        self._table = LanceExport(location, self._schema)

    def write(self, shard: str, records: Sequence[Record], read: Read) -> Written:
        rows = [{IMAGE.name: read(record), **record.told} for record in records]
        self._table.put(pa.Table.from_pylist(rows, schema=self._schema))
        return Written(name=_TABLE, bytes=sum(int(record.told["bytes"]) for record in records), sha256=None)

    def holds(self, entry: Entry) -> bool:
        return self._table.count(min(entry.image_ids), max(entry.image_ids)) == len(entry.image_ids)

    def remove(self, entry: Entry) -> None:
        """Nothing here: `finish` deletes what is not part of the export, whichever shard it came with."""

    def finish(self, image_ids: Collection[str], records: Iterator[tuple[str, Record]]) -> list[Written]:
        self._table.finish(image_ids)
        return []
