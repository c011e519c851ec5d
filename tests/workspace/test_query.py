from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from flywheel.errors import QueryFailed, QueryRefused, UsageError
from flywheel.schemas import TABLES
from flywheel.workspace import Workspace, runs
from flywheel.workspace.catalog import build
from flywheel.workspace.query import ask, versions_at


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


def test_answers_and_views_of_people(workspace: Workspace) -> None:
    (workspace.path / "views" / "wide.sql").write_text("SELECT image_id FROM images WHERE width_px > 15;\n")
    assert ask(workspace, "SELECT * FROM wide", {}).rows["image_id"].to_pylist() == ["b"]
    assert "images" in ask(workspace, "SHOW TABLES", {}).rows["name"].to_pylist()
    path, refused = build(workspace, {})
    assert refused == []
    (workspace.path / "views" / "broken.sql").write_text("SELECT nothing FROM nowhere")
    _, refused = build(workspace, {})
    assert len(refused) == 1
    assert "broken" in refused[0]
    (workspace.path / "views" / "broken.sql").unlink()
    import duckdb

    with duckdb.connect(str(path), read_only=True) as own:
        assert own.execute("SELECT count(*) FROM wide").fetchall() == [(1,)]


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
