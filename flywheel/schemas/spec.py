"""What a table is: its key, its columns, and what a row says.

A scorer brings the spec of its own table (`score_spec`), so that a new scorer touches no file here.
Delta has no unsigned integers: 64-bit hashes are stored as signed bit patterns.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

TEXT = pa.string()


@dataclass(frozen=True, slots=True, kw_only=True)
class TableSpec:
    """A table as it is written. `key` columns are non-null and unique."""

    name: str
    key: tuple[str, ...]
    schema: pa.Schema
    says: str


def spec(name: str, key: str, says: str, columns: Mapping[str, pa.DataType]) -> TableSpec:
    keys = tuple(key.split())
    fields = [pa.field(column, kind, nullable=column not in keys) for column, kind in columns.items()]
    return TableSpec(name=name, key=keys, schema=pa.schema(fields), says=says)


def score_spec(name: str, says: str, columns: Mapping[str, pa.DataType]) -> TableSpec:
    """The table of one scorer: keyed by image and scorer version, measured columns nullable."""
    return spec(f"score_{name}", "image_id version", says, {"image_id": TEXT, "version": TEXT, **columns})
