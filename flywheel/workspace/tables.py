"""Delta tables: opening, creating, fenced appends, rewrites.

Delta enforces no keys. Two drivers of one step would therefore both succeed in writing the same rows.
The fence: every append of a step carries Transaction(app_id=step, version=n+1), n being what the
writer itself committed last. A twin that commits from the same snapshot is refused by Delta; a twin
that committed in between shows as an unexpected n. Either way the later driver stops.

What replaces files (delete, update, replace, compaction) carries one fence a table, whoever does it: of two
from the same snapshot the second is refused, takes the table as it is then and does its work again.
"""

from __future__ import annotations

import json
import os
import random
import re
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import unquote

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Field, Transaction, write_deltalake
from deltalake.exceptions import CommitFailedError, TableNotFoundError

from flywheel.errors import AnotherDriver, FlywheelError, UsageError
from flywheel.schemas import TableSpec
from flywheel.workspace import compaction
from flywheel.workspace.places import local_path
from flywheel.workspace.storage import Store

# Snapshots and iterations pin versions for years: the log must outlive them.
_LOG_RETENTION = "interval 3650 days"
_SMALL_FILES = 8
# Our choice: enough beside drivers that append every few seconds, and given up within half a minute.
_ATTEMPTS = 30
_WAIT_S = 1.0
# What delta-rs cannot address in a local path: it reads %41 as A and a backslash as a slash, and stops at the others.
_UNADDRESSABLE = re.compile(r"[\x00-\x1f\x7f\[\]\\^|\ud800-\udfff]|%[0-9A-Fa-f]{2}")
_COMMIT = re.compile(r"(\d{20})\.json")
_Result = TypeVar("_Result")


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
        """Raises UsageError for a local folder whose path delta-rs cannot address."""
        self._store = Store(root_uri)
        self.is_local = self._store.is_local
        self._root = os.fsdecode(local_path(root_uri)) if self.is_local else root_uri.rstrip("/")
        wrong = _UNADDRESSABLE.search(self._root) if self.is_local else None
        if wrong:
            raise UsageError(f"Delta tables cannot lie below a path with {wrong[0]!a} in it: use another folder")

    def uri(self, name: str) -> str:
        """How delta-rs is told where a table lies: a plain local path, or an s3:// URI."""
        return f"{self._root}/{name}"

    def names(self) -> list[str]:
        return list(self._store.folders())

    def open(self, name: str, version: int | None = None) -> DeltaTable:
        """Raises FlywheelError when the table or that version of it is gone."""
        try:
            return DeltaTable(self.uri(name), version=version)
        except TableNotFoundError as error:
            raise FlywheelError(f"table {name} does not exist in this workspace; run `flywheel migrate`") from error
        except Exception as error:  # delta-rs raises bare Exceptions for a version that was cleaned up
            which = "" if version is None else f" at version {version}"
            raise FlywheelError(f"table {name} cannot be read{which}: {' '.join(str(error).split())}") from error

    def ensure(self, spec: TableSpec) -> None:
        """Create the table, or add the columns it lacks. Columns are only ever added, nullable.

        Raises AnotherDriver when somebody else changes the same table at this moment.
        """
        uri = self.uri(spec.name)
        try:
            if not DeltaTable.is_deltatable(uri):
                DeltaTable.create(uri, schema=spec.schema, mode="ignore", configuration=_settings(spec))
            for _, field in self.missing_columns(spec):
                self.open(spec.name).alter.add_columns([Field(field.name, _delta_type(field.type), nullable=True)])
        except CommitFailedError as error:
            if not DeltaTable.is_deltatable(uri) or self.missing_columns(spec):
                raise AnotherDriver(
                    f"somebody else is changing table {spec.name}; start the same command again"
                ) from error

    def missing_columns(self, spec: TableSpec) -> list[tuple[str, pa.Field]]:
        if not DeltaTable.is_deltatable(self.uri(spec.name)):
            return [(spec.name, field) for field in spec.schema]
        have = set(arrow_schema(self.open(spec.name)).names)
        return [(spec.name, field) for field in spec.schema if field.name not in have]

    def versions(self) -> dict[str, int]:
        return {name: self.latest(name) for name in self.names()}

    def latest(self, name: str) -> int:
        """The newest version, told by the names in the log: opening a table costs a hundred times more.

        Raises FlywheelError when there is no such table.
        """
        versions = [int(found[1]) for entry in self._log(name) if (found := _COMMIT.fullmatch(entry))]
        if not versions:
            raise FlywheelError(f"table {name} does not exist in this workspace; run `flywheel migrate`")
        return max(versions)

    def _log(self, name: str) -> list[str]:
        if self.is_local:
            with suppress(FileNotFoundError):
                return os.listdir(f"{self.uri(name)}/_delta_log")
            return []
        return [stored.uri.rsplit("/", 1)[-1] for stored in self._store.list(f"{name}/_delta_log")]

    def relation(self, name: str, version: int | None = None) -> Relation:
        table = self.open(name, version)
        dataset = None if self.is_local else table.to_pyarrow_dataset()
        files = tuple(unquote(uri) for uri in table.file_uris()) if self.is_local else ()
        return Relation(name, arrow_schema(table), files, dataset, table.version())

    def append(self, name: str, rows: pa.Table, *, run_id: str) -> None:
        """An unfenced append, for event tables that carry their own compare-and-set."""
        if rows.num_rows:
            stamp = _stamp(run_id)
            _committed(name, lambda: write_deltalake(self.open(name), rows, mode="append", commit_properties=stamp))

    def replace(self, name: str, rows: pa.Table, *, run_id: str) -> None:
        """Overwrite a derived table as one commit. Raises AnotherDriver."""
        self._rewrite(
            name, run_id, lambda table, stamp: write_deltalake(table, rows, mode="overwrite", commit_properties=stamp)
        )

    def delete_keys(self, name: str, keys: pa.Table, *, run_id: str) -> int:
        """Delete the rows whose columns equal a row of `keys`; returns how many. Raises AnotherDriver."""
        if not keys.num_rows:
            return 0
        on = " AND ".join(f"t.{column} = s.{column}" for column in keys.column_names)

        def delete(table: DeltaTable, stamp: CommitProperties) -> int:
            merge = table.merge(keys, on, source_alias="s", target_alias="t", commit_properties=stamp)
            return int(merge.when_matched_delete().execute()["num_target_rows_deleted"])

        return self._rewrite(name, run_id, delete)

    def update_rows(self, name: str, rows: Sequence[Mapping[str, Any]], *, key: str, run_id: str) -> None:
        """Set the other columns of `rows` (all with the same ones) where the key matches, as one commit.

        Raises AnotherDriver.
        """
        if not rows:
            return
        values = {f'"{column}"': f's."{column}"' for column in rows[0] if column != key}

        def update(table: DeltaTable, stamp: CommitProperties) -> None:
            schema = arrow_schema(table)
            source = pa.Table.from_pylist(list(rows), pa.schema([schema.field(column) for column in rows[0]]))
            on = f"t.{key} = s.{key}"
            merge = table.merge(source, on, source_alias="s", target_alias="t", commit_properties=stamp)
            merge.when_matched_update(values).execute()

        self._rewrite(name, run_id, update)

    def _rewrite(self, name: str, run_id: str, act: Callable[[DeltaTable, CommitProperties], _Result]) -> _Result:
        """Replace files behind the table's fence, again from the newest version where somebody else came first."""

        def once() -> _Result:
            table = self.open(name)
            return act(table, compaction.rewriting(table, {"run_id": run_id}))

        return _committed(name, once)

    def compact(self, name: str) -> None:
        """Merge small files, when there are enough of them to matter.

        Somebody who rewrites the same files meanwhile wins; the next compaction finds what is left.
        """
        table = self.open(name)
        if len(table.file_uris()) > _SMALL_FILES:
            with suppress(CommitFailedError):
                compaction.compact(table, self._store, name)


class FencedTable:
    """One table as one step writes it. Not shared between threads."""

    def __init__(self, tables: Tables, name: str, step: str, run_id: str) -> None:
        self._table = tables.open(name)
        self._tables, self._name, self._step, self._run_id = tables, name, step, run_id
        self._fence = self._table.transaction_version(step) or 0
        self.commits = 0

    def append(self, rows: pa.Table) -> None:
        """Append behind the fence.

        Raises AnotherDriver when somebody else committed for this step since we last did. A commit that failed for
        other reasons (many others came first) is tried again: the fence tells the two apart.
        """
        if rows.num_rows:
            _committed(self._name, lambda: self._append(rows))
            self._fence += 1
            self.commits += 1

    def _append(self, rows: pa.Table) -> None:
        self._table.update_incremental()
        if (self._table.transaction_version(self._step) or 0) != self._fence:
            raise self._overtaken()
        mark = Transaction(self._step, self._fence + 1)
        write_deltalake(self._table, rows, mode="append", commit_properties=_stamp(self._run_id, [mark]))

    def compact(self) -> None:
        self._tables.compact(self._name)
        self.commits = 0

    def _overtaken(self) -> AnotherDriver:
        self._table.update_incremental()
        other = next(
            (entry["run_id"] for entry in self._table.history(50) if entry.get("run_id") not in (None, self._run_id)),
            "unknown",
        )
        return AnotherDriver(f"run {other} is writing step {self._step} in this workspace; this run stops")


def _committed(name: str, act: Callable[[], _Result]) -> _Result:
    """The result of `act`, which is repeated from its start while its commit fails.

    Raises AnotherDriver when it fails every time.
    """
    for attempt in range(_ATTEMPTS):
        try:
            return act()
        except CommitFailedError:
            time.sleep(random.uniform(0, min(_WAIT_S, 0.01 * 2**attempt)))
    raise AnotherDriver(f"others changed table {name} {_ATTEMPTS} times before us; start the same command again")


def arrow_schema(table: DeltaTable) -> pa.Schema:
    """The table's schema as plain pyarrow (delta-rs speaks arro3)."""
    return pa.schema(table.schema().to_arrow())


def commit_files(log_entry: bytes) -> tuple[Mapping[str, Any], Sequence[str]]:
    """The commitInfo of one `_delta_log/N.json`, and the paths that it added with rows that were not there before."""
    info: Mapping[str, Any] = {}
    added: list[str] = []
    for line in log_entry.decode().splitlines():
        action = json.loads(line)
        info = action.get("commitInfo", info)
        if "add" in action and action["add"]["dataChange"]:
            added.append(action["add"]["path"])
    return info, added


def _stamp(run_id: str, marks: list[Transaction] | None = None) -> CommitProperties:
    return CommitProperties(custom_metadata={"run_id": run_id}, app_transactions=marks)


def _settings(spec: TableSpec) -> dict[str, str]:
    with_stats = [name for name in spec.schema.names if name in compaction.WITH_STATISTICS]
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
