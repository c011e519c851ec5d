"""The child that runs one person's SELECT. Reads a job as JSON on stdin, writes Arrow IPC to stdout.

Defence in depth, because DuckDB alone does not contain: a read-only connection still reads any file and
writes with COPY, and `allowed_paths` alone would let COPY overwrite those paths. So: one statement, of
type SELECT, external access off but for the tables' own files, configuration locked, memory and rows
limited here and time by the parent.
"""

from __future__ import annotations

import json
import resource
import sys

import duckdb
import pyarrow as pa

# DuckDB's limit counts its buffers only; the address space also holds libraries and results.
_ADDRESS_SPACE_SPARE = 6 << 30
_SAID_CHARS = 300


def main() -> int:
    job = json.load(sys.stdin)
    limit = (job["memory_mb"] << 20) + _ADDRESS_SPACE_SPARE
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    connection = duckdb.connect(
        config={
            "python_enable_replacements": False,
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "memory_limit": f"{job['memory_mb']}MB",
            "threads": job["threads"],
            "temp_directory": "",
        }
    )
    try:
        _prepare(connection, job)
        statements = connection.extract_statements(job["sql"])
    except duckdb.Error as error:
        return _say(error, 4)
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        return _say("only one SELECT statement is answered here", 3)
    try:
        reader = connection.sql(job["sql"]).to_arrow_reader(10_000)
        _send(reader, job["rows"])
    except duckdb.PermissionException as error:
        return _say(error, 3)
    except duckdb.Error as error:
        return _say(error, 4)
    return 0


def _prepare(connection: duckdb.DuckDBPyConnection, job: dict[str, object]) -> None:
    for remote in job["remote"]:  # type: ignore[attr-defined]
        from deltalake import DeltaTable

        table = DeltaTable(remote["uri"], version=remote["version"])
        connection.register(f"arrow_{remote['name']}", table.to_pyarrow_dataset())
    for statement in job["setup"]:  # type: ignore[attr-defined]
        connection.execute(statement)
    files = ", ".join("'" + file.replace("'", "''") + "'" for file in job["allowed"])  # type: ignore[attr-defined]
    connection.execute(f"SET allowed_paths = [{files}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


def _send(reader: pa.RecordBatchReader, limit: int) -> None:
    """Stream at most `limit` rows and one more, by which the parent sees that it was cut."""
    left = limit + 1
    with pa.ipc.new_stream(sys.stdout.buffer, reader.schema) as sink:
        for batch in reader:
            sink.write_batch(batch.slice(0, left))
            left -= batch.num_rows
            if left <= 0:
                break


def _say(message: object, code: int) -> int:
    text = " ".join(str(message).split())
    print(text[:_SAID_CHARS], file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
