"""DuckDB over the exact files of Delta tables. DuckDB never owns data here: only views in memory."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

import pyarrow as pa

from flywheel.workspace.tables import Relation, Tables
from flywheel.workspace.views import VIEWS

if TYPE_CHECKING:
    import duckdb  # loaded where a query runs in this process: most only plan here and run in a child

_TYPES = {
    pa.string(): "VARCHAR",
    pa.int8(): "TINYINT",
    pa.int16(): "SMALLINT",
    pa.int32(): "INTEGER",
    pa.int64(): "BIGINT",
    pa.float32(): "FLOAT",
    pa.float64(): "DOUBLE",
    pa.bool_(): "BOOLEAN",
    pa.binary(): "BLOB",
}


# What a query may name beside the tables: SQL by name, or a relation that is no table (a derived file).
Views = Mapping[str, str | Relation]


@dataclass(frozen=True, slots=True)
class Plan:
    """What a query needs before it can run: tables at versions, and views in dependency order."""

    relations: tuple[Relation, ...]
    views: tuple[tuple[str, str], ...]

    @property
    def allowed(self) -> list[str]:
        """Paths that a contained connection must be let to: what DuckDB is asked for, and what it then opens."""
        files = [file for relation in self.relations for file in relation.files]
        return sorted({*files, *map(_pattern, files)})

    def statements(self, but: Collection[str] = ()) -> list[str]:
        """What makes the tables and the views, without those views named in `but`."""
        tables = [f"CREATE VIEW {relation.name} AS {relation_sql(relation)}" for relation in self.relations]
        return tables + [_create(name, sql) for name, sql in self.views if name not in but]


def plan(
    tables: Tables,
    sql: str | None,
    views: Views,
    versions: Mapping[str, int] | None = None,
    hidden: Sequence[str] = (),
) -> Plan:
    """Everything that `sql` names, transitively; all tables and views when `sql` is None.

    `versions` pins tables for time travel; a table that did not exist then is read as it was created.
    """
    names, ordered = needed(tables, sql, views, hidden)
    at = versions or {}
    relations = [tables.relation(name, at.get(name, 0 if versions else None)) for name in names]
    relations += [given for name in ordered if isinstance(given := views.get(name), Relation)]
    known = {**VIEWS, **views}
    return Plan(tuple(relations), tuple((name, text) for name in ordered if isinstance(text := known[name], str)))


def needed(
    tables: Tables, sql: str | None, views: Views, hidden: Sequence[str] = ()
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The tables that `sql` names, transitively, and the views in the order in which they need each other.

    A name counts as used when it occurs as a word: too many views cost little, a missing one is an error.
    """
    known = {**VIEWS, **views}
    names = [name for name in tables.names() if name not in hidden]
    used, ordered = set[str](), list[str]()

    def visit(text: str) -> None:
        words = set(re.findall(r"\w+", text.lower()))
        for name, view in known.items():
            if name.split("(")[0].lower() in words and name not in used:
                used.add(name)
                visit(view if isinstance(view, str) else "")
                ordered.append(name)
        used.update(name for name in names if name.lower() in words)

    visit(" ".join([*known, *names]) if sql is None else sql)
    return tuple(name for name in names if name in used and name not in known), tuple(ordered)


def _create(name: str, sql: str) -> str:
    """A view, or a table macro when the name carries parameters: `survivors(n)`."""
    return f"CREATE MACRO {name} AS TABLE {sql}" if "(" in name else f"CREATE VIEW {name} AS {sql}"


def relation_sql(relation: Relation) -> str:
    """A SELECT with the schema's explicit columns, whatever columns its files were written with."""
    columns = ", ".join(f'"{field.name}"' for field in relation.schema)
    if relation.dataset is not None:
        return f"SELECT {columns} FROM arrow_{relation.name}"
    empty = ", ".join(f'NULL::{sql_type(field.type)} AS "{field.name}"' for field in relation.schema)
    if not relation.files:
        return f"SELECT {empty} WHERE false"
    files = ", ".join(quote(_pattern(file)) for file in relation.files)
    rows = f"SELECT * FROM read_parquet([{files}], union_by_name=true)"
    return f"SELECT {columns} FROM (SELECT {empty} WHERE false UNION ALL BY NAME {rows})"


def _pattern(file: str) -> str:
    """A path as `read_parquet` must be given it, so that it means this file alone and not all that it would fit."""
    return re.sub(r"[*?]", r"[\g<0>]", file)


def sql_type(kind: pa.DataType) -> str:
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return f"{sql_type(kind.value_type)}[]"
    return _TYPES[kind]


def quote(text: str) -> str:
    """A SQL string literal."""
    return "'" + text.replace("'", "''") + "'"


def answer(tables: Tables, sql: str, views: Views, arrow: Mapping[str, pa.Table]) -> pa.Table:
    """Run our own SQL in memory and return Arrow."""
    return run(plan(tables, sql, views, hidden=tuple(arrow)), sql, arrow)


def run(prepared: Plan, sql: str, arrow: Mapping[str, pa.Table] = MappingProxyType({})) -> pa.Table:
    """Run our own SQL over what was planned for it."""
    with connect() as connection:
        for name, table in arrow.items():
            connection.register(name, table)
        open_plan(connection, prepared)
        return connection.sql(sql).to_arrow_table()


def connect() -> duckdb.DuckDBPyConnection:
    """A DuckDB in memory for our own SQL.

    Pushing partial aggregates down takes two fifths of the planning of a policy's fold and finds nothing there.
    """
    import duckdb

    settings = {"python_enable_replacements": False, "disabled_optimizers": "partial_aggregate_pushdown"}
    return duckdb.connect(config=settings)


def open_plan(connection: duckdb.DuckDBPyConnection, prepared: Plan) -> None:
    for relation in prepared.relations:
        if relation.dataset is not None:
            connection.register(f"arrow_{relation.name}", relation.dataset)
    for statement in prepared.statements():
        connection.execute(statement)
