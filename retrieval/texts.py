"""What was written about images, searched by words (BM25)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import pyarrow as pa
from lancedb.index import FTS
from lancedb.query import MatchQuery

from flywheel.seeds import stable_hash
from retrieval.keyed_table import KeyedTable, key_field

_SCHEMA = pa.schema(
    [
        key_field("image_id"),
        pa.field("text", pa.string(), nullable=False),
        pa.field("digest", pa.string(), nullable=False),
    ]
)
Found = list[tuple[str, float]]  # image_id, score; best first, equal ones by id


class TextIndex:
    """One row an image: all its captions as one text."""

    def __init__(self, location: str) -> None:
        self._table = KeyedTable(location, "texts", _SCHEMA)

    def digests(self) -> Mapping[str, str]:
        """What is held of each image: changes where its text does."""
        if not self._table.rows():
            return {}
        rows = self._table.columns("image_id", "digest")
        return dict(zip(rows["image_id"].to_pylist(), rows["digest"].to_pylist(), strict=True))

    def put(self, ids: Sequence[str], texts: Sequence[str]) -> None:
        self._table.put([pa.array(ids), pa.array(texts), pa.array([digest(text) for text in texts])])

    def delete(self, ids: Collection[str]) -> None:
        self._table.delete(ids)

    def finish(self) -> None:
        """Bring the index of words up to the rows."""
        if not self._table.rows():
            return
        if not list(self._table.lance.list_indices()):
            # Captions are of any language, and "no" and "not" tell them apart: neither stems nor stop words.
            config = FTS(stem=False, remove_stop_words=False, ascii_folding=True)
            self._table.lance.create_index("text", config=config)
        self._table.tidy()

    def find(self, words: str, k: int, only: Collection[str] | None = None) -> Found:
        """The k images whose captions fit the words best; of `only`, where given. Words are words, never a query language."""
        if not self._table.rows() or k < 1 or not words.strip():
            return []
        deep = k if only is None else self._table.rows()
        query = self._table.lance.search(MatchQuery(words, "text"), query_type="fts").limit(deep)
        rows = query.select(["image_id", "_score"]).to_arrow()
        found = zip(rows["image_id"].to_pylist(), rows["_score"].to_pylist(), strict=True)
        return sorted((hit for hit in found if only is None or hit[0] in only), key=lambda hit: (-hit[1], hit[0]))[:k]


def digest(text: str) -> str:
    return stable_hash(text)
