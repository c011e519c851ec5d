"""Delta tables: opening, creating, fenced appends, compaction.

Delta enforces no keys. Two drivers of one step would therefore both succeed in writing the same rows.
The fence: every append of a step carries Transaction(app_id=step, version=n+1), n being what the
writer itself committed last. A twin that commits from the same snapshot is refused by Delta; a twin
that committed in between shows as an unexpected n. Either way the later driver stops.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Field, Transaction, write_deltalake
from deltalake.exceptions import CommitFailedError, TableNotFoundError
from pyarrow import fs

from flywheel.errors import AnotherDriver, FlywheelError
from flywheel.schemas import TableSpec

# Statistics of other columns would keep captions and URIs readable in the log after they were forgotten.
_STATS_FOR = {"image_id", "subject_id", "step", "version", "seq", "run_id"}
# Snapshots and iterations pin versions for years: the log must outlive them.
_LOG_RETENTION = "interval 3650 days"
_SMALL_FILES = 8


@dataclass(frozen=True, slots=True)
class Relation:
    """One table at one version, ready for a query engine: exact files, or a dataset when remote."""

    name: str
    schema: pa.Schema
    files: tuple[str, ...]
    dataset: Any | None
    version: int


class Tables:
    """The `tables/` folder of a workspace."""

    def __init__(self, root_uri: str) -> None:
        self._root = root_uri.rstrip("/")
        self.is_local = root_uri.startswith("file://")
        self._filesystem, self._path = fs.FileSystem.from_uri(self._root)

    def uri(self, name: str) -> str:
        return f"{self._path}/{name}" if self.is_local else f"{self._root}/{name}"

    def names(self) -> list[str]:
        selector = fs.FileSelector(self._path, allow_not_found=True)
        found = self._filesystem.get_file_info(selector)
        return sorted(info.base_name for info in found if info.type == fs.FileType.Directory)

    def open(self, name: str, version: int | None = None) -> DeltaTable:
        """Raises FlywheelError when the table or that version of it is gone."""
        try:
            return DeltaTable(self.uri(name), version=version)
        except TableNotFoundError as error:
            raise FlywheelError(f"table {name} does not exist in this workspace; run `flywheel migrate`") from error
        except Exception as error:  # delta-rs raises bare Exceptions for a version that was cleaned up
            raise FlywheelError(f"table {name} cannot be read at version {version}: {error}") from error

    def ensure(self, spec: TableSpec) -> None:
        """Create the table, or add the columns it lacks. Columns are only ever added, nullable."""
        if not DeltaTable.is_deltatable(self.uri(spec.name)):
            DeltaTable.create(self.uri(spec.name), schema=spec.schema, mode="ignore", configuration=_settings(spec))
            return
        for _, field in self.missing_columns(spec):
            table = self.open(spec.name)
            table.alter.add_columns([Field(field.name, _delta_type(field.type), nullable=True)])

    def missing_columns(self, spec: TableSpec) -> list[tuple[str, pa.Field]]:
        if not DeltaTable.is_deltatable(self.uri(spec.name)):
            return [(spec.name, field) for field in spec.schema]
        have = set(arrow_schema(self.open(spec.name)).names)
        return [(spec.name, field) for field in spec.schema if field.name not in have]

    def versions(self) -> dict[str, int]:
        return {name: self.open(name).version() for name in self.names()}

    def relation(self, name: str, version: int | None = None) -> Relation:
        table = self.open(name, version)
        dataset = None if self.is_local else table.to_pyarrow_dataset()
        files = tuple(table.file_uris()) if self.is_local else ()
        return Relation(name, arrow_schema(table), files, dataset, table.version())

    def append(self, name: str, rows: pa.Table, *, run_id: str) -> None:
        """An unfenced append, for event tables that carry their own compare-and-set."""
        if rows.num_rows:
            write_deltalake(self.open(name), rows, mode="append", commit_properties=_stamp(run_id))

    def replace(self, name: str, rows: pa.Table, *, run_id: str) -> None:
        """Overwrite a derived table as one commit."""
        write_deltalake(self.open(name), rows, mode="overwrite", commit_properties=_stamp(run_id))

    def delete_keys(self, name: str, keys: pa.Table, *, run_id: str) -> int:
        """Delete the rows whose columns equal a row of `keys`; returns how many."""
        if not keys.num_rows:
            return 0
        on = " AND ".join(f"t.{column} = s.{column}" for column in keys.column_names)
        merged = (
            self.open(name)
            .merge(keys, on, source_alias="s", target_alias="t", commit_properties=_stamp(run_id))
            .when_matched_delete()
            .execute()
        )
        return int(merged["num_target_rows_deleted"])

    def update_rows(self, name: str, rows: Sequence[Mapping[str, Any]], *, key: str, run_id: str) -> None:
        """Set the other columns of `rows` (all with the same ones) where the key matches, as one commit."""
        if not rows:
            return
        table = self.open(name)
        schema = arrow_schema(table)
        source = pa.Table.from_pylist(list(rows), pa.schema([schema.field(column) for column in rows[0]]))
        values = {f'"{column}"': f's."{column}"' for column in rows[0] if column != key}
        (
            table.merge(
                source, f"t.{key} = s.{key}", source_alias="s", target_alias="t", commit_properties=_stamp(run_id)
            )
            .when_matched_update(values)
            .execute()
        )

    def compact(self, name: str) -> None:
        """Merge small files, when there are enough of them to matter.

        Somebody who rewrites the same files meanwhile wins; the next compaction finds what is left.
        """
        table = self.open(name)
        if len(table.file_uris()) > _SMALL_FILES:
            with suppress(CommitFailedError):
                table.optimize.compact()


class FencedTable:
    """One table as one step writes it. Not shared between threads."""

    def __init__(self, tables: Tables, name: str, step: str, run_id: str) -> None:
        self._table = tables.open(name)
        self._name, self._step, self._run_id = name, step, run_id
        self._fence = self._table.transaction_version(step) or 0
        self.commits = 0

    def append(self, rows: pa.Table) -> None:
        """Append behind the fence.

        Raises AnotherDriver when somebody else committed for this step since we last did.
        """
        if not rows.num_rows:
            return
        self._table.update_incremental()
        if (self._table.transaction_version(self._step) or 0) != self._fence:
            raise self._overtaken()
        mark = Transaction(self._step, self._fence + 1)
        try:
            write_deltalake(self._table, rows, mode="append", commit_properties=_stamp(self._run_id, [mark]))
        except CommitFailedError as error:
            raise self._overtaken() from error
        self._fence += 1
        self.commits += 1

    def compact(self) -> None:
        self._table.update_incremental()
        if len(self._table.file_uris()) > _SMALL_FILES:
            self._table.optimize.compact()
        self.commits = 0

    def _overtaken(self) -> AnotherDriver:
        self._table.update_incremental()
        other = next(
            (entry["run_id"] for entry in self._table.history(50) if entry.get("run_id") not in (None, self._run_id)),
            "unknown",
        )
        return AnotherDriver(f"run {other} is writing step {self._step} in this workspace; this run stops")


def arrow_schema(table: DeltaTable) -> pa.Schema:
    """The table's schema as plain pyarrow (delta-rs speaks arro3)."""
    return pa.schema(table.schema().to_arrow())


def commit_files(log_entry: bytes) -> tuple[Mapping[str, Any], Sequence[str]]:
    """The commitInfo and the added paths of one `_delta_log/N.json`."""
    info: Mapping[str, Any] = {}
    added: list[str] = []
    for line in log_entry.decode().splitlines():
        action = json.loads(line)
        info = action.get("commitInfo", info)
        if "add" in action:
            added.append(action["add"]["path"])
    return info, added


def _stamp(run_id: str, marks: list[Transaction] | None = None) -> CommitProperties:
    return CommitProperties(custom_metadata={"run_id": run_id}, app_transactions=marks)


def _settings(spec: TableSpec) -> dict[str, str]:
    with_stats = [name for name in spec.schema.names if name in _STATS_FOR]
    stats = (
        {"delta.dataSkippingStatsColumns": ",".join(with_stats)}
        if with_stats
        else {"delta.dataSkippingNumIndexedCols": "0"}
    )
    return {
        "delta.logRetentionDuration": _LOG_RETENTION,
        "delta.deletedFileRetentionDuration": "interval 1 days",
        **stats,
    }


def _delta_type(kind: pa.DataType) -> str:
    names = {
        pa.string(): "string",
        pa.int8(): "byte",
        pa.int16(): "short",
        pa.int32(): "integer",
        pa.int64(): "long",
        pa.float32(): "float",
        pa.float64(): "double",
        pa.bool_(): "boolean",
        pa.binary(): "binary",
    }
    return names[kind]
