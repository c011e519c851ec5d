"""A DuckDB connection that reaches the files of the tables and nothing else.

Defence in depth, because DuckDB alone does not contain: a read-only connection still reads any file and writes
with COPY, and `allowed_paths` alone would let COPY overwrite those paths. So external access is off but for the
tables' own files and the configuration is locked before the first word that a person wrote is looked at, and
that word must be exactly one statement of type SELECT.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType

import duckdb

OPTIONS = MappingProxyType(
    {
        "python_enable_replacements": False,
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        "temp_directory": "",
    }
)


def contain(connection: duckdb.DuckDBPyConnection, allowed: Sequence[str]) -> None:
    """Let the connection read these paths and take everything else away, for good."""
    listed = ", ".join("'" + path.replace("'", "''") + "'" for path in allowed)
    connection.execute(f"SET allowed_paths = [{listed}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


def is_one_select(connection: duckdb.DuckDBPyConnection, sql: str) -> bool:
    """Raises duckdb.Error for what cannot be parsed."""
    return [statement.type for statement in connection.extract_statements(sql)] == [duckdb.StatementType.SELECT]


def create_view(connection: duckdb.DuckDBPyConnection, name: str, body: str) -> str | None:
    """Create a view that a person wrote; returns in one line why not, where it cannot be."""
    try:
        connection.extract_statements(f"CREATE VIEW {name} AS SELECT 1")
    except duckdb.Error:
        return f"{name} is a word of SQL's own and names no view"
    try:
        whole = f"CREATE VIEW {name} AS {body}"
        if not is_one_select(connection, body) or len(connection.extract_statements(whole)) != 1:
            return "it is not exactly one SELECT"
        connection.execute(whole)
    except duckdb.Error as error:
        return one_line(error)
    return None


def one_line(error: object) -> str:
    return " ".join(str(error).split())
