"""A Lance table with a key: what both indexes rest on, and its traps in one place."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterator, Sequence
from datetime import timedelta
from typing import Any

import lancedb
import pyarrow as pa

MOST_NAMED = 5_000  # ids in one filter: longer ones take longer to read than to answer
# Without this mark two writers that merge one key both insert it, silently.
_KEY = {b"lance-schema:unenforced-primary-key": b"true"}
_KEPT = timedelta(hours=1)  # old versions, for searches under way


def key_field(name: str) -> pa.Field:
    return pa.field(name, pa.string(), nullable=False, metadata=_KEY)


class KeyedTable:
    """The table `name` below `location`, whose first column is its key; there once something was put into it."""

    def __init__(self, location: str, name: str, schema: pa.Schema) -> None:
        self._database = lancedb.connect(location)
        self._name, self._schema, self._key = name, schema, schema.names[0]
        there = name in self._database.list_tables().tables
        self.lance: Any = self._database.open_table(name) if there else None

    def rows(self) -> int:
        return int(self.lance.count_rows()) if self.lance is not None else 0

    def columns(self, *names: str) -> pa.Table:
        """All rows of some columns. Not before something was put into it."""
        return self.lance.search().select([*names]).limit(self.rows()).to_arrow()

    def put(self, columns: Sequence[Any]) -> None:
        """Insert, or replace where the key is there."""
        if self.lance is None:
            self.lance = self._database.create_table(self._name, schema=self._schema, exist_ok=True)
        merge = self.lance.merge_insert(self._key).when_matched_update_all().when_not_matched_insert_all()
        merge.execute(pa.table([*columns], schema=self._schema))

    def delete(self, ids: Collection[str]) -> None:
        for condition in self.named(ids):
            self.lance.delete(condition)

    def tidy(self) -> None:
        """Bring indexes up to the rows, drop old versions."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # it warns of other writers; there is one
            self.lance.optimize(cleanup_older_than=_KEPT)

    def named(self, ids: Collection[str]) -> Iterator[str]:
        """Conditions that together name these ids."""
        ordered = sorted(ids)
        for start in range(0, len(ordered), MOST_NAMED):
            listed = ", ".join(map(_quoted, ordered[start : start + MOST_NAMED]))
            yield f"{self._key} IN ({listed})"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
