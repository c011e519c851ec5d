"""Vectors of images, searched by cosine: exactly while they are few, by an inverted file once they are many.

An index over the table `embeddings`, never a place of its own: deleting it costs minutes and no model.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from lancedb.index import IvfSq

from retrieval.keyed_table import MOST_NAMED, KeyedTable, key_field

# Measured on 100,000 x 512: exact search 0.2 s there, IVF_SQ with refine 5 ms at recall 0.996. Below this it is fast enough.
FLAT_BELOW = 50_000
# Of IVF_SQ; with these, recall@10 was above 0.99 on clustered vectors. Our choice. An eighth of all partitions is searched, or
# sixteen: sixteen of a million rows' 666 found 0.59 of the nearest.
_ROWS_A_PARTITION, _FEWEST_PROBES, _PROBED, _REFINE = 1_500, 16, 1 / 8, 4

Vectors = npt.NDArray[np.float32]
Found = list[tuple[str, float]]  # image_id, cosine; best first, equal ones by id


class VectorIndex:
    """The vectors of one model."""

    def __init__(self, location: str, model_id: str, dims: int, *, flat_below: int = FLAT_BELOW) -> None:
        vector = pa.field("vector", pa.list_(pa.float32(), dims), nullable=False)
        name = f"vectors-{re.sub(r'[^A-Za-z0-9_.-]', '-', model_id)}"
        self._table = KeyedTable(location, name, pa.schema([key_field("subject_id"), vector]))
        self._dims, self._flat_below = dims, flat_below

    def ids(self) -> frozenset[str]:
        if not self._table.rows():
            return frozenset()
        return frozenset(self._table.columns("subject_id")["subject_id"].to_pylist())

    def put(self, ids: Sequence[str], vectors: Vectors) -> None:
        """Insert, or replace those that are there. vectors: (number, dims), of length one."""
        flat = pa.array(np.ascontiguousarray(vectors, dtype=np.float32).reshape(-1))
        self._table.put([pa.array(ids, pa.string()), pa.FixedSizeListArray.from_arrays(flat, self._dims)])

    def delete(self, ids: Collection[str]) -> None:
        self._table.delete(ids)

    def finish(self) -> None:
        """Build or extend the inverted file where the table has outgrown exact search."""
        rows = self._table.rows()
        if not rows:
            return
        if rows >= self._flat_below and not list(self._table.lance.list_indices()):
            partitions = max(1, rows // _ROWS_A_PARTITION)
            config = IvfSq(distance_type="cosine", num_partitions=partitions, max_iterations=10, sample_rate=64)
            self._table.lance.create_index("vector", config=config)
        self._table.tidy()

    def nearest(self, vector: Vectors, k: int, only: Collection[str] | None = None, *, exact: bool = False) -> Found:
        """The k images most like a vector; of `only`, where given."""
        if not self._table.rows() or k < 1 or (only is not None and not only):
            return []
        if only is None or len(only) <= MOST_NAMED:
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
        for condition in self._table.named(set(ids)):
            rows = self._table.lance.search().where(condition).limit(len(ids)).to_arrow()
            found.update(zip(rows["subject_id"].to_pylist(), rows["vector"].to_pylist(), strict=True))
        return np.array([found[one] for one in ids], dtype=np.float32).reshape(len(ids), self._dims)

    def _probes(self) -> int:
        return max(_FEWEST_PROBES, round(_PROBED * self._table.rows() / _ROWS_A_PARTITION))

    def _search(self, vector: Vectors, k: int, only: Collection[str] | None, exact: bool) -> Found:
        query = self._table.lance.search(vector, vector_column_name="vector").distance_type("cosine").limit(k)
        if only is not None:
            (condition,) = self._table.named(only)
            query = query.where(condition, prefilter=True)
        query = query.bypass_vector_index() if exact else query.nprobes(self._probes()).refine_factor(_REFINE)
        rows = query.select(["subject_id", "_distance"]).to_arrow()
        far = zip(rows["subject_id"].to_pylist(), rows["_distance"].to_pylist(), strict=True)
        return sorted(((one, 1 - distance) for one, distance in far), key=lambda hit: (-hit[1], hit[0]))
