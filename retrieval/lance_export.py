"""Images as a Lance table, for loaders that want random access: written in key ranges, each safe to repeat."""

from __future__ import annotations

import warnings
from collections.abc import Collection
from datetime import timedelta

import lancedb
import pyarrow as pa

TABLE = "images"
IMAGE = pa.field("image", pa.large_binary())
_DELETE_AT_ONCE = 1_000


class LanceExport:
    """Table `images` in the LanceDB database at `location` (a folder or an s3:// URI), with one writer."""

    def __init__(self, location: str, schema: pa.Schema) -> None:
        self._database = lancedb.connect(location)
        self._schema = schema
        self._was_there = TABLE in self._database.list_tables().tables
        found = self._database.open_table(TABLE) if self._was_there else None
        # A table with the columns of an older export is none: the first `put` replaces it.
        self._table = found if found is not None and found.schema.names == schema.names else None

    def put(self, rows: pa.Table) -> None:
        """Write rows (sorted by image_id) in place of all that the table holds in their range of image_ids.

        Deleting first makes a repeat after a kill harmless: the range holds these rows or none of them.
        """
        if self._table is None:
            mode = "overwrite" if self._was_there else "create"
            self._table = self._database.create_table(TABLE, schema=self._schema, mode=mode)
        ids = rows["image_id"]
        within = _between(ids[0].as_py(), ids[-1].as_py())
        if self._table.count_rows(within):
            self._table.delete(within)
        self._table.add(rows)

    def count(self, first: str, last: str) -> int:
        """Rows from image_id `first` to `last`, both included."""
        return int(self._table.count_rows(_between(first, last))) if self._table is not None else 0

    def finish(self, image_ids: Collection[str]) -> None:
        """Delete every other image, and the files of killed writers and older versions, for good."""
        if not self._was_there or self._table is None:
            return
        held = self._table.search().select(["image_id"]).limit(self._table.count_rows()).to_arrow()
        stale = sorted(set(held["image_id"].to_pylist()) - set(image_ids))
        for start in range(0, len(stale), _DELETE_AT_ONCE):
            some = ", ".join(f"'{image_id}'" for image_id in stale[start : start + _DELETE_AT_ONCE])
            self._table.delete(f"image_id IN ({some})")
        with warnings.catch_warnings():
            # It warns of other readers and writers; an export that is not finished has none.
            warnings.simplefilter("ignore", UserWarning)
            self._table.optimize(cleanup_older_than=timedelta(0), delete_unverified=True)


def _between(first: str, last: str) -> str:
    return f"image_id >= '{first}' AND image_id <= '{last}'"
