from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from flywheel.errors import QueryFailed, QueryRefused, UsageError
from flywheel.schemas import TABLES
from flywheel.workspace import Workspace, runs
from flywheel.workspace.query import answering, ask, policy_text_at, versions_at


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    made = Workspace.init(str(tmp_path_factory.mktemp("sql") / "ws"))
    rows = [{"image_id": name, "width_px": width, "height_px": 10} for name, width in (("a", 10), ("b", 20))]
    made.tables.append("images", pa.Table.from_pylist(rows, schema=TABLES["images"].schema), run_id="r")
    return made


@pytest.mark.parametrize(
    "attack",
    [
        "COPY (SELECT 1) TO '{outside}/stolen.csv'",
        "COPY images TO '{table}' (FORMAT parquet, USE_TMP_FILE false)",
        "ATTACH '{outside}/other.db'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET enable_external_access = true",
        "RESET allowed_paths",
        "PRAGMA database_list",
        "CALL pragma_version()",
        "CREATE TABLE t AS SELECT 1",
        "DROP VIEW images",
        "EXPORT DATABASE '{outside}/dump'",
        "SELECT 1; COPY (SELECT 1) TO '{outside}/stolen.csv'",
        "SELECT * FROM read_text('/etc/passwd')",
        "SELECT * FROM read_blob('/etc/passwd')",
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM '/etc/passwd'",
        "FROM glob('/*')",
        "SELECT * FROM read_parquet('{outside}/*.parquet')",
        "SELECT * FROM read_json('http://127.0.0.1:1/x.json')",
        "WITH x AS (SELECT * FROM read_text('/etc/passwd')) SELECT * FROM x",
        "SELECT (SELECT content FROM read_text('/etc/passwd'))",
        "SELECT * FROM query('COPY (SELECT 1) TO ''{outside}/stolen.csv''')",
        "SELECT * FROM query_table('/etc/passwd')",
        "",
        "-- nothing",
    ],
)
def test_anything_but_one_contained_select_is_refused(workspace: Workspace, tmp_path: Path, attack: str) -> None:
    table = workspace.tables.open("images").file_uris()[0]
    before = Path(table).read_bytes()
    with pytest.raises((QueryRefused, QueryFailed)) as refused:
        ask(workspace, attack.format(outside=tmp_path, table=table), {})
    assert "\n" not in str(refused.value)
    assert "root:" not in str(refused.value)
    assert list(tmp_path.iterdir()) == []
    assert Path(table).read_bytes() == before


def test_python_objects_of_the_child_are_not_tables(workspace: Workspace) -> None:
    with pytest.raises(QueryFailed):
        ask(workspace, "SELECT * FROM job", {})


def test_limits_on_time_rows_and_memory(tmp_path: Path) -> None:
    made = Workspace.init(str(tmp_path / "ws"))
    made.store.write_new("flywheel.toml", b"[sql]\nseconds = 60\nrows = 10\n")
    limited = Workspace.open(str(tmp_path / "ws"))
    cut = ask(limited, "SELECT * FROM range(1000000)", {})
    assert (cut.rows.num_rows, cut.truncated) == (10, True)
    made.store.write_new("flywheel.toml", b"[sql]\nseconds = 3\n")
    limited = Workspace.open(str(tmp_path / "ws"))
    with pytest.raises(QueryFailed, match="seconds"):
        ask(limited, "SELECT count(*) FROM range(1000000000000) WHERE hash(range) = 7", {})
    made.store.write_new("flywheel.toml", b"[sql]\nmemory_mb = 64\n")
    limited = Workspace.open(str(tmp_path / "ws"))
    with pytest.raises(QueryFailed, match="Memory"):
        ask(limited, "SELECT list(range || repeat('x', 1000)) FROM range(10000000)", {})


def test_an_answer_is_cut_where_it_would_be_larger_than_the_memory_limit(tmp_path: Path) -> None:
    made = Workspace.init(str(tmp_path / "ws"))
    made.store.write_new("flywheel.toml", b"[sql]\nmemory_mb = 64\n")
    with answering(Workspace.open(made.uri), "SELECT repeat('x', 400) AS s FROM range(1000000)", {}) as told:
        batches = list(told.reader)
    sent = sum(batch.num_rows for batch in batches)
    assert told.cut == f"cut after {sent} rows (64 MB, [sql] memory_mb in flywheel.toml)"
    assert 60 << 20 < sum(batch.nbytes for batch in batches) <= 64 << 20
    assert max(batch.nbytes for batch in batches) < 4 << 20  # whoever writes it on holds no more


def test_exactly_as_many_rows_as_may_be_are_not_cut(tmp_path: Path) -> None:
    made = Workspace.init(str(tmp_path / "ws"))
    made.store.write_new("flywheel.toml", b"[sql]\nrows = 5000\n")
    limited = Workspace.open(made.uri)
    whole, cut = (ask(limited, f"SELECT * FROM range({rows})", {}) for rows in (5000, 5001))
    assert (whole.rows.num_rows, whole.truncated) == (5000, False)
    assert (cut.rows.num_rows, cut.truncated) == (5000, True)


def test_names_are_unique_and_odd_types_are_text(workspace: Workspace) -> None:
    asked = ask(workspace, 'SELECT 1 AS a, 2 AS a, 3 AS a_1, 4 AS A, 5 AS "q""", 6 AS "q""" ORDER BY 1', {})
    assert asked.rows.to_pylist() == [{"a": 1, "a_2": 2, "a_1": 3, "A": 4, 'q"': 5, 'q"_1': 6}]
    odd = ask(workspace, "SELECT i.* FROM (SELECT INTERVAL 3 DAY AS i, '101'::BIT AS b, [INTERVAL 1 DAY] AS l) i", {})
    assert odd.rows.to_pylist() == [{"i": "3 days", "b": "101", "l": "[1 day]"}]
    ordered = ask(workspace, "SELECT range AS n, INTERVAL 1 DAY AS i FROM range(5000) ORDER BY n DESC", {})
    assert ordered.rows["n"].to_pylist() == list(range(4999, -1, -1))


def test_the_child_loads_duckdb_and_pyarrow_alone() -> None:
    code = "import sys, flywheel.workspace.query_child; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert {"duckdb", "pyarrow"} <= set(loaded)
    assert not {"deltalake", "pydantic", "typer", "rich", "psutil", "pandas"} & set(loaded)


def test_a_question_is_planned_without_duckdb() -> None:
    code = "import sys, flywheel.workspace.query; print('duckdb' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_the_past_is_read_at_a_run_or_a_time(tmp_path: Path) -> None:
    made = Workspace.init(str(tmp_path / "ws"))
    schema = TABLES["tombstones"].schema
    run = runs.start(made, "ingest")
    made.tables.append("tombstones", pa.Table.from_pylist([{"image_id": "a"}], schema=schema), run_id=run.run_id)
    run.end("finished", {})
    made.tables.append("tombstones", pa.Table.from_pylist([{"image_id": "b"}], schema=schema), run_id="later")
    count = "SELECT count(*) AS n FROM tombstones"
    assert ask(made, count, {}).rows["n"].to_pylist() == [2]
    assert ask(made, count, {}, versions_at(made, run.run_id)).rows["n"].to_pylist() == [1]
    assert ask(made, count, {}, versions_at(made, "2999-01-01")).rows["n"].to_pylist() == [1]
    for unknown in ("no-such-run", "1999-01-01", "'; DROP TABLE x; --"):
        with pytest.raises(UsageError):
            versions_at(made, unknown)


def test_a_run_is_read_as_it_ended_though_it_was_retracted_since(tmp_path: Path) -> None:
    """The time of a state is that of the event that tells it: a later word on the run moves nothing."""
    made = Workspace.init(str(tmp_path / "ws"))
    for number in range(3):
        made.tables.append("tombstones", tombstone(f"t{number}"), run_id="r")
        event(made, f"run-{number}", 0, "finished", f"2020-01-0{number + 1}T00:00:00+00:00", {"tombstones": number + 1})
    event(made, "run-0", 1, "retracted", "2020-01-09T00:00:00+00:00", None)
    count = "SELECT count(*) AS n FROM tombstones"

    def then(when: str) -> list[int]:
        counted: list[int] = ask(made, count, {}, versions_at(made, when)).rows["n"].to_pylist()
        return counted

    assert [then(f"2020-01-0{day}T12:00:00Z") for day in (1, 2, 3)] == [[1], [2], [3]]
    assert then("2020-01-10") == [3]
    assert then("2020-01-02T01:00:00+02:00") == [1]  # an hour before the second run ended
    assert then("run-0") == [1]


def test_the_policy_of_that_time_is_the_one_that_was_active(tmp_path: Path) -> None:
    made = Workspace.init(str(tmp_path / "ws"))
    before = made.tables.versions()
    for number, text in enumerate(("first", "second")):
        policy = {"policy_id": text, "name": text, "text": f"the {text} policy"}
        activated = {"seq": number, "policy_id": text, "event": "activated", "actor": "me", "at": "now"}
        made.tables.append("policies", rows_of("policies", policy), run_id="r")
        made.tables.append("policy_events", rows_of("policy_events", activated), run_id="r")
        if not number:
            between = made.tables.versions()
    texts = [policy_text_at(made, versions) for versions in (before, between, made.tables.versions())]
    assert texts == [None, "the first policy", "the second policy"]


def test_a_version_that_was_vacuumed_is_said_to_be_too_old(tmp_path: Path) -> None:
    made = Workspace.init(str(tmp_path / "ws"))
    for number in range(10):
        made.tables.append("tombstones", tombstone(f"t{number}"), run_id="r")
    then = made.tables.versions()
    made.tables.compact("tombstones")
    made.tables.open("tombstones").vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
    with pytest.raises(QueryFailed, match="table tombstones of that time is gone: it is older than the retention"):
        ask(made, "SELECT * FROM tombstones", {}, then)
    assert ask(made, "SELECT count(*) AS n FROM images", {}, then).rows["n"].to_pylist() == [0]
    assert ask(made, "SELECT count(*) AS n FROM tombstones", {}).rows["n"].to_pylist() == [10]


def rows_of(table: str, *rows: dict[str, object]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), schema=TABLES[table].schema)


def tombstone(image_id: str) -> pa.Table:
    return rows_of("tombstones", {"image_id": image_id})


def event(made: Workspace, run_id: str, seq: int, event: str, at: str, versions: dict[str, int] | None) -> None:
    out = json.dumps(made.tables.versions() | versions) if versions else None
    row = {"run_id": run_id, "seq": seq, "step": "ingest", "event": event, "at": at, "tables_out_json": out}
    made.tables.append("run_events", rows_of("run_events", row), run_id=run_id)
