"""The child that runs one person's SELECT: a job as JSON on stdin, Arrow IPC on stdout, then one JSON line on stderr.

What it may reach is settled in `contained`; memory, rows and bytes are limited here, time by the parent.
It loads DuckDB and pyarrow alone (and deltalake where tables lie in an object store): it starts at every question.
"""

from __future__ import annotations

import json
import re
import resource
import sys
from typing import Any

# pyarrow takes numpy along where there is one, a third of what this process costs to start; nothing here needs it.
sys.modules["numpy"] = None  # type: ignore[assignment]

import duckdb  # noqa: E402
import pyarrow as pa  # noqa: E402

from flywheel.workspace import contained  # noqa: E402

# DuckDB's limit counts its buffers only; the address space also holds libraries and results.
_ADDRESS_SPACE_SPARE = 6 << 30
_SAID_CHARS = 300
_BATCH_ROWS = 2048
# Types that CSV, Parquet or Python's own values cannot hold: they are answered as DuckDB writes them.
_AS_TEXT = re.compile(r"\b(INTERVAL|BIT|UNION|BIGNUM|VARIANT|TIME WITH TIME ZONE)\b")
REFUSED, FAILED = 3, 4


def main() -> int:
    job = json.load(sys.stdin)
    limit = (job["memory_mb"] << 20) + _ADDRESS_SPACE_SPARE
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    settings = {**contained.OPTIONS, "memory_limit": f"{job['memory_mb']}MB", "threads": job["threads"]}
    connection = duckdb.connect(config=settings)
    left_out: list[list[str]] = []
    try:
        _prepare(connection, job, left_out)
        if not contained.is_one_select(connection, job["sql"]):
            return _say(REFUSED, left_out, said="only one SELECT statement is answered here")
        answer = _presentable(connection.sql(job["sql"]))
        cut, rows = _send(answer.to_arrow_reader(_BATCH_ROWS), job["rows"], job["memory_mb"] << 20)
    except duckdb.PermissionException as error:
        return _say(REFUSED, left_out, said=contained.one_line(error)[:_SAID_CHARS])
    except (duckdb.Error, pa.ArrowException, OSError, MemoryError) as error:
        return _say(FAILED, left_out, said=contained.one_line(error)[:_SAID_CHARS] or type(error).__name__)
    return _say(0, left_out, cut=cut, rows=rows)


def _prepare(connection: duckdb.DuckDBPyConnection, job: dict[str, Any], left_out: list[list[str]]) -> None:
    """Tables and our views, then the person's own; those that cannot be are noted in `left_out`, with the reason."""
    for remote in job["remote"]:
        from deltalake import DeltaTable

        table = DeltaTable(remote["uri"], version=remote["version"])
        connection.register(f"arrow_{remote['name']}", table.to_pyarrow_dataset())
    contained.contain(connection, job["allowed"])
    for statement in job["setup"]:
        connection.execute(statement)
    for name, body in job["own"]:
        why = contained.create_view(connection, name, body)
        if why:
            left_out.append([name, why[:_SAID_CHARS]])


def _presentable(answer: duckdb.DuckDBPyRelation) -> duckdb.DuckDBPyRelation:
    """With names that are unique (a, a_1) and types that every format can hold."""
    names: list[str] = []
    for name in answer.columns:
        unique, number = name, 0
        while unique in names or (number and unique in answer.columns):
            number += 1
            unique = f"{name}_{number}"
        names.append(unique)
    awkward = [_AS_TEXT.search(str(kind)) is not None for kind in answer.types]
    if names == answer.columns and not any(awkward):
        return answer
    quoted = ['"' + name.replace('"', '""') + '"' for name in names]
    parts = [
        f"{f'CAST(#{at} AS VARCHAR)' if text else f'#{at}'} AS {name}"
        for at, (name, text) in enumerate(zip(quoted, awkward, strict=True), 1)
    ]
    return answer.project(", ".join(parts))


def _send(reader: pa.RecordBatchReader, rows: int, size: int) -> tuple[str | None, int]:
    """Stream what the limits on rows and bytes let through; returns which of them cut, if any, and how many went."""
    sent = 0
    with pa.ipc.new_stream(sys.stdout.buffer, reader.schema) as sink:
        for batch in reader:
            fits = batch.num_rows if batch.nbytes <= size else batch.num_rows * size // batch.nbytes
            taken = min(rows - sent, fits)
            sink.write_batch(batch.slice(0, taken))
            if taken < batch.num_rows:
                return ("bytes" if taken == fits else "rows"), sent + taken
            sent += taken
            size -= batch.nbytes
    return None, sent


def _say(code: int, left_out: list[list[str]], **told: Any) -> int:
    print(json.dumps({"left_out": left_out, **told}), file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
