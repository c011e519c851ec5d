"""What was written about images, searched by words (BM25)."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from typing import Any

import lancedb
import pyarrow as pa
from lancedb.index import FTS
from lancedb.query import MatchQuery

from flywheel.seeds import stable_hash
from retrieval.vectors import _KEY, _named

_NAME = "texts"
_SCHEMA = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False, metadata=_KEY),
        pa.field("text", pa.string(), nullable=False),
        pa.field("digest", pa.string(), nullable=False),
    ]
)
Found = list[tuple[str, float]]  # image_id, score; best first, equal ones by id


class TextIndex:
    """One row an image: all its captions as one text. There once something was put into it."""

    def __init__(self, location: str) -> None:
        self._database = lancedb.connect(location)
        there = _NAME in self._database.list_tables().tables
        self._table: Any = self._database.open_table(_NAME) if there else None

    def digests(self) -> Mapping[str, str]:
        """What is held of each image: changes where its text does."""
        if self._table is None:
            return {}
        rows = self._table.search().select(["image_id", "digest"]).limit(self._table.count_rows()).to_arrow()
        return dict(zip(rows["image_id"].to_pylist(), rows["digest"].to_pylist(), strict=True))

    def put(self, ids: Sequence[str], texts: Sequence[str]) -> None:
        rows = pa.table([pa.array(ids), pa.array(texts), pa.array([digest(text) for text in texts])], schema=_SCHEMA)
        if self._table is None:
            self._table = self._database.create_table(_NAME, schema=_SCHEMA, exist_ok=True)
        self._table.merge_insert("image_id").when_matched_update_all().when_not_matched_insert_all().execute(rows)

    def delete(self, ids: Collection[str]) -> None:
        for some in _named(sorted(ids)):
            self._table.delete(f"image_id IN ({some})")

    def finish(self) -> None:
        """Bring the index of words up to the rows; drop old versions."""
        if self._table is None:
            return
        if not list(self._table.list_indices()):
            # Captions are of any language, and "no" and "not" tell them apart: neither stems nor stop words.
            self._table.create_index("text", config=FTS(stem=False, remove_stop_words=False, ascii_folding=True))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # it warns of other writers; there is one
            self._table.optimize(cleanup_older_than=timedelta(hours=1))

    def find(self, words: str, k: int, only: Collection[str] | None = None) -> Found:
        """The k images whose captions fit the words best; of `only`, where given. Words are words, never a query language."""
        if self._table is None or k < 1 or not words.strip():
            return []
        deep = k if only is None else self._table.count_rows()
        rows = (
            self._table.search(MatchQuery(words, "text"), query_type="fts")
            .limit(deep)
            .select(["image_id", "_score"])
            .to_arrow()
        )
        found = zip(rows["image_id"].to_pylist(), rows["_score"].to_pylist(), strict=True)
        return sorted((hit for hit in found if only is None or hit[0] in only), key=lambda hit: (-hit[1], hit[0]))[:k]


def digest(text: str) -> str:
    return stable_hash(text)
