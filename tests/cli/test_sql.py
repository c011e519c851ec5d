"""`flywheel sql`: formats, limits, conversations, and text from strangers."""

from __future__ import annotations

import csv
import io
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet
import pytest
from calling import call

from flywheel.workspace import Workspace
from flywheel.workspace.views import JUDGED
from pipelines.judging import judging_views


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty workspace. Read only."""
    place = tmp_path_factory.mktemp("sql") / "ws"
    assert call("init", "-w", place).code == 0
    return place


@pytest.fixture
def own(place: Path, tmp_path: Path) -> Path:
    made = tmp_path / "own ws"
    assert call("init", "-w", made).code == 0
    return made


def test_columns_of_one_name_are_all_there(place: Path) -> None:
    told = call("sql", "SELECT 1 AS a, 2 AS a, 3 AS b", "-w", place, "--json")
    assert (told.json, told.err) == ([{"a": 1, "a_1": 2, "b": 3}], "")
    assert call("sql", "SELECT 1 AS a, 2 AS a", "-w", place).out.split() == ["a", "a_1", "1", "2"]


VALUES = """
SELECT sum(x) AS whole, 1.25::DECIMAL(9, 2) AS part, 'nan'::DOUBLE AS nan, ['inf'::DOUBLE, 1] AS numbers,
INTERVAL 3 DAY AS span, '\\xFF\\x00'::BLOB AS bytes, MAP {'k': 1} AS map, NULL AS nothing,
TIMESTAMP '2020-01-02 03:04:05' AS moment, DATE '-4000-01-01' AS ancient, '101'::BIT AS bits, 'a,"b' AS text
FROM range(3) t(x)
"""


def test_every_value_is_sound_json(place: Path) -> None:
    told = call("sql", VALUES, "-w", place, "--json").out
    assert json.loads(told, parse_constant=pytest.fail) == [
        {
            "whole": 3,
            "part": 1.25,
            "nan": None,
            "numbers": [None, 1.0],
            "span": "3 days",
            "bytes": "ff00",
            "map": {"k": 1},
            "nothing": None,
            "moment": "2020-01-02 03:04:05",
            "ancient": "-4000-01-01",
            "bits": "101",
            "text": 'a,"b',
        }
    ]
    assert call("sql", "SELECT 1 WHERE false", "-w", place, "--json").out == "[]\n"


def test_every_value_fits_csv_and_parquet(place: Path) -> None:
    (row,) = csv.DictReader(io.StringIO(call("sql", VALUES, "-w", place, "--format", "csv").out))
    assert (row["whole"], row["part"], row["span"], row["bytes"], row["text"]) == (
        "3",
        "1.25",
        "3 days",
        "ff00",
        'a,"b',
    )
    assert json.loads(row["map"]) == {"k": 1}
    assert json.loads(row["numbers"]) == [None, 1.0]
    parquet = pyarrow.parquet.read_table(io.BytesIO(call("sql", VALUES, "-w", place, "--format", "parquet").raw))
    assert parquet.drop_columns("ancient").to_pylist()[0]["span"] == "3 days"
    assert parquet["bytes"].to_pylist() == [b"\xff\x00"]


def test_many_batches_are_one_document(place: Path) -> None:
    query = "SELECT range AS n FROM range(10000)"
    assert [row["n"] for row in call("sql", query, "-w", place, "--json").json] == list(range(10_000))
    assert call("sql", query, "-w", place, "--format", "csv").out.splitlines() == ['"n"', *map(str, range(10_000))]
    parquet = io.BytesIO(call("sql", query, "-w", place, "--format", "parquet").raw)
    assert pyarrow.parquet.read_table(parquet)["n"].to_pylist() == list(range(10_000))
    shown = call("sql", query, "-w", place)
    assert len(shown.out.splitlines()) == 1001
    assert "first 1000 rows" in shown.err


def test_what_a_limit_cut_is_whole_and_told(own: Path) -> None:
    (own / "flywheel.toml").write_text("[sql]\nmemory_mb = 64\nrows = 100000\n")
    told = call("sql", "SELECT repeat('x', 1000) AS s FROM range(90000)", "-w", own, "--json")
    rows = len(told.json)
    assert 60_000 < rows < 70_000
    assert told.err == f"cut after {rows} rows (64 MB, [sql] memory_mb in flywheel.toml)\n"
    told = call("sql", "SELECT 1 AS s FROM range(200000)", "-w", own, "--format", "csv")
    assert told.err == "cut after 100000 rows ([sql] rows in flywheel.toml)\n"


def test_a_script_learns_that_a_statement_failed(place: Path) -> None:
    assert call("sql", "-w", place, stdin="SELECT 1;\nSELECT 2").code == 0
    told = call("sql", "-w", place, "--json", stdin="SELECT nothing;\nSELECT 2 AS two;\n")
    assert (told.code, json.loads(told.out)) == (1, [{"two": 2}])
    assert told.err.count("\n") == 1


STRANGE = "SELECT '[/b] [red]x' AS markup, chr(27) || '[31m' AS esc, chr(155) || chr(8238) AS c1, 'a' || chr(10) || 'b' AS lines"


def test_text_from_strangers_is_shown_and_never_obeyed(place: Path) -> None:
    told = call("sql", STRANGE, "-w", place)
    assert (told.code, told.err) == (0, "")
    head, row = told.out.splitlines()
    assert head.split() == ["markup", "esc", "c1", "lines"]
    assert row.rstrip().split("  ") == ["[/b] [red]x", "␛[31m", "\\x9b\\u202e", "a␊b"]
    named = call("sql", 'SELECT 1 AS "[/b]\x1b[31m"', "-w", place).out
    assert named.split() == ["[/b]␛[31m", "1"]
    document = call("sql", STRANGE, "-w", place, "--json")
    assert document.json[0] == {"markup": "[/b] [red]x", "esc": "\x1b[31m", "c1": "\x9b\u202e", "lines": "a\nb"}
    assert all(line.isprintable() for line in document.out.splitlines())


def test_an_error_that_quotes_a_stranger_is_one_printable_line(place: Path) -> None:
    told = call("sql", 'SELECT * FROM "no\x1b[31m\nsuch"', "-w", place)
    told.refused(1, "no␛[31m such")
    assert told.err.rstrip("\n").isprintable()


def test_views_left_out_are_named_once(own: Path) -> None:
    (own / "views" / "a-b.sql").write_text("SELECT 1")
    (own / "views" / "scores.sql").write_text("SELECT 'mine' AS image_id")
    (own / "views" / "broken\x1b.sql").write_text("SELECT 1")
    assert call("sql", "SELECT 1 AS one", "-w", own, "--json").err == ""
    told = call(
        "sql", "-w", own, "--json", stdin="SELECT count(*) AS n FROM scores;\nSELECT count(*) AS n FROM scores;"
    )
    assert (told.code, told.out) == (0, '[\n {"n": 0}\n]\n' * 2)
    assert told.err == "left out views/scores.sql: scores is a table or a view already\n"
    assert [line.split(":")[0] for line in call("sql", "SHOW TABLES", "-w", own, "--json").err.splitlines()] == [
        "left out views/a-b.sql",
        "left out views/broken␛.sql",
        "left out views/scores.sql",
    ]


def test_the_line_that_opens_the_catalogue_can_be_pasted(own: Path) -> None:
    told = call("catalog", "-w", own)
    assert shlex.split(told.out) == ["duckdb", "-readonly", str(own / "catalog.duckdb")]


def test_names_that_need_a_policy_are_those_of_the_views_that_do(place: Path) -> None:
    assert {name.split("(")[0] for name in judging_views(Workspace.open(str(place)))} <= set(JUDGED)


def test_a_small_question_loads_neither_duckdb_nor_rich_here(place: Path) -> None:
    code = (
        "import sys\nfrom flywheel.cli import main\ntry:\n    main()\nexcept SystemExit:\n"
        "    print(*sorted(sys.modules), file=sys.stderr)"
    )
    command = [sys.executable, "-c", code, "sql", "SELECT 1 AS one", "-w", str(place), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [{"one": 1}]
    assert not {"duckdb", "rich", "pandas", "pyarrow.parquet", "filters", "pipelines"} & set(done.stderr.split())


@pytest.mark.parametrize(("rows", "first"), [(200_000, ["[\n"]), (1, [])])
def test_a_reader_that_has_seen_enough_hears_no_complaint(place: Path, rows: int, first: list[str]) -> None:
    command = [sys.executable, "-c", "from flywheel.cli import main\nmain()"]
    asked = [*command, "sql", f"SELECT range FROM range({rows})", "-w", str(place), "--json"]
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with subprocess.Popen(asked, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=buffered) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert [process.stdout.readline() for _ in first] == first
        process.stdout.close()
        assert process.stderr.read() == ""
