"""DuckDB over the exact files of Delta tables. DuckDB never owns data here: only views in memory."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import duckdb
import pyarrow as pa

from flywheel.workspace.tables import Relation, Tables
from flywheel.workspace.views import VIEWS

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


@dataclass(frozen=True, slots=True)
class Plan:
    """What a query needs before it can run: tables at versions, and views in dependency order."""

    relations: tuple[Relation, ...]
    views: tuple[tuple[str, str], ...]

    @property
    def files(self) -> list[str]:
        return [file for relation in self.relations for file in relation.files]

    def statements(self) -> list[str]:
        tables = [f"CREATE VIEW {relation.name} AS {relation_sql(relation)}" for relation in self.relations]
        return tables + [_create(name, sql) for name, sql in self.views]


def plan(
    tables: Tables,
    sql: str | None,
    views: Mapping[str, str],
    versions: Mapping[str, int] | None = None,
    hidden: Sequence[str] = (),
) -> Plan:
    """Everything that `sql` names, transitively; all tables and views when `sql` is None.

    A name counts as used when it occurs as a word: too many views cost little, a missing one is an error.
    `versions` pins tables for time travel; a table that did not exist then is read as it was created.
    """
    known = {**VIEWS, **views}
    names = [name for name in tables.names() if name not in hidden]
    needed, ordered = set[str](), list[str]()

    def visit(text: str) -> None:
        words = set(re.findall(r"\w+", text.lower()))
        for name in known:
            if name.split("(")[0].lower() in words and name not in ordered and name not in needed:
                needed.add(name)
                visit(known[name])
                ordered.append(name)
        needed.update(name for name in names if name.lower() in words)

    visit(" ".join([*known, *names]) if sql is None else sql)
    chosen = [name for name in names if name in needed and name not in known]
    at = versions or {}
    relations = tuple(tables.relation(name, at.get(name, 0 if versions else None)) for name in chosen)
    return Plan(relations, tuple((name, known[name]) for name in ordered))


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
    files = ", ".join(quote(file) for file in relation.files)
    rows = f"SELECT * FROM read_parquet([{files}], union_by_name=true)"
    return f"SELECT {columns} FROM (SELECT {empty} WHERE false UNION ALL BY NAME {rows})"


def sql_type(kind: pa.DataType) -> str:
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return f"{sql_type(kind.value_type)}[]"
    return _TYPES[kind]


def quote(text: str) -> str:
    """A SQL string literal."""
    return "'" + text.replace("'", "''") + "'"


def answer(tables: Tables, sql: str, views: Mapping[str, str], arrow: Mapping[str, pa.Table]) -> pa.Table:
    """Run our own SQL in memory and return Arrow."""
    prepared = plan(tables, sql, views, hidden=tuple(arrow))
    with duckdb.connect(config={"python_enable_replacements": False}) as connection:
        for name, table in arrow.items():
            connection.register(name, table)
        open_plan(connection, prepared)
        return connection.sql(sql).to_arrow_table()


def open_plan(connection: duckdb.DuckDBPyConnection, prepared: Plan) -> None:
    for relation in prepared.relations:
        if relation.dataset is not None:
            connection.register(f"arrow_{relation.name}", relation.dataset)
    for statement in prepared.statements():
        connection.execute(statement)
