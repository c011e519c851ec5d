"""Vectors of images, searched by cosine: exactly while they are few, by an inverted file once they are many.

An index over the table `embeddings`, never a place of its own: deleting it costs minutes and no model.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import Any

import lancedb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from lancedb.index import IvfSq

# Measured on 100,000 x 512: exact search 0.2 s there, IVF_SQ with refine 5 ms at recall 0.996. Below this it is fast enough.
FLAT_BELOW = 50_000
# Of IVF_SQ; with these, recall@10 was above 0.99 on clustered vectors. Our choice.
_ROWS_A_PARTITION, _PROBES, _REFINE = 1_500, 16, 4
_MOST_NAMED = 5_000  # ids in one filter; beyond it the search goes deeper and filters afterwards
_KEY = {b"lance-schema:unenforced-primary-key": b"true"}  # without it two writers that merge one key both insert it

Vectors = npt.NDArray[np.float32]
Found = list[tuple[str, float]]  # image_id, cosine; best first, equal ones by id


class VectorIndex:
    """The Lance table of one model's vectors below `location`; there once something was put into it."""

    def __init__(self, location: str, model_id: str, dims: int, *, flat_below: int = FLAT_BELOW) -> None:
        self._database = lancedb.connect(location)
        self._name = f"vectors-{re.sub(r'[^A-Za-z0-9_.-]', '-', model_id)}"
        self._dims, self._flat_below = dims, flat_below
        there = self._name in self._database.list_tables().tables
        self._table: Any = self._database.open_table(self._name) if there else None

    def ids(self) -> frozenset[str]:
        if self._table is None:
            return frozenset()
        rows = self._table.search().select(["subject_id"]).limit(self._table.count_rows()).to_arrow()
        return frozenset(rows["subject_id"].to_pylist())

    def put(self, ids: Sequence[str], vectors: Vectors) -> None:
        """Insert, or replace those that are there. vectors: (number, dims), of length one."""
        rows = pa.table([pa.array(ids, pa.string()), _fixed(vectors, self._dims)], schema=self._schema())
        if self._table is None:
            self._table = self._database.create_table(self._name, schema=self._schema(), exist_ok=True)
        merge = self._table.merge_insert("subject_id").when_matched_update_all().when_not_matched_insert_all()
        merge.execute(rows)

    def delete(self, ids: Collection[str]) -> None:
        for some in _named(sorted(ids)):
            self._table.delete(f"subject_id IN ({some})")

    def finish(self) -> None:
        """Build or extend the inverted file where the table has outgrown exact search; drop old versions of it."""
        if self._table is None:
            return
        rows = self._table.count_rows()
        if rows >= self._flat_below and not list(self._table.list_indices()):
            partitions = max(1, rows // _ROWS_A_PARTITION)
            config = IvfSq(distance_type="cosine", num_partitions=partitions, max_iterations=10, sample_rate=64)
            self._table.create_index("vector", config=config)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # it warns of other writers; there is one
            self._table.optimize(cleanup_older_than=timedelta(hours=1))

    def nearest(self, vector: Vectors, k: int, only: Collection[str] | None = None, *, exact: bool = False) -> Found:
        """The k images most like a vector; of `only`, where given."""
        if self._table is None or k < 1 or (only is not None and not only):
            return []
        if only is None or len(only) <= _MOST_NAMED:
            return self._search(vector, k, only, exact)
        deep, wanted = 4 * k, frozenset(only)
        while True:
            found = self._search(vector, deep, None, exact)
            kept = [hit for hit in found if hit[0] in wanted][:k]
            if len(kept) == k or len(found) < deep:
                return kept
            deep *= 4

    def vectors(self, ids: Sequence[str]) -> Vectors:
        """Of these images, in this order. Raises KeyError for one that is not here."""
        found: dict[str, Any] = {}
        for some in _named(sorted(set(ids))):
            rows = self._table.search().where(f"subject_id IN ({some})").limit(len(ids)).to_arrow()
            found.update(zip(rows["subject_id"].to_pylist(), rows["vector"].to_pylist(), strict=True))
        return np.array([found[one] for one in ids], dtype=np.float32).reshape(len(ids), self._dims)

    def _search(self, vector: Vectors, k: int, only: Collection[str] | None, exact: bool) -> Found:
        query = self._table.search(vector, vector_column_name="vector").distance_type("cosine").limit(k)
        if only is not None:
            query = query.where(f"subject_id IN ({', '.join(_quoted(one) for one in sorted(only))})", prefilter=True)
        query = query.bypass_vector_index() if exact else query.nprobes(_PROBES).refine_factor(_REFINE)
        rows = query.select(["subject_id", "_distance"]).to_arrow()
        found = [
            (one, 1 - far)
            for one, far in zip(rows["subject_id"].to_pylist(), rows["_distance"].to_pylist(), strict=True)
        ]
        return sorted(found, key=lambda hit: (-hit[1], hit[0]))

    def _schema(self) -> pa.Schema:
        key = pa.field("subject_id", pa.string(), nullable=False, metadata=_KEY)
        return pa.schema([key, pa.field("vector", pa.list_(pa.float32(), self._dims), nullable=False)])


def _fixed(vectors: Vectors, dims: int) -> pa.Array:
    flat = pa.array(np.ascontiguousarray(vectors, dtype=np.float32).reshape(-1))
    return pa.FixedSizeListArray.from_arrays(flat, dims)


def _named(ids: Sequence[str]) -> list[str]:
    return [", ".join(map(_quoted, ids[start : start + _MOST_NAMED])) for start in range(0, len(ids), _MOST_NAMED)]


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
