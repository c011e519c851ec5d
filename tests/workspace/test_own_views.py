"""People's views: one SELECT each, within the tables, and a bad one stops nothing but itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from flywheel.errors import QueryFailed, QueryRefused
from flywheel.workspace import Workspace
from flywheel.workspace.catalog import build
from flywheel.workspace.query import ask

GOOD = "SELECT count(*) AS n FROM outcomes"


@pytest.fixture
def views(workspace: Workspace, outcomes: Callable[..., pa.Table]) -> Path:
    workspace.tables.append("outcomes", outcomes("a", "b"), run_id="r")
    return workspace.path / "views"


def named(lines: tuple[str, ...] | list[str]) -> list[str]:
    return [line.split(":")[0].removeprefix("views/") for line in lines]


BAD = [
    "SELECT 1 AS x; COPY (SELECT 'pwned') TO '{outside}/stolen'",
    "COPY (SELECT 'pwned') TO '{outside}/stolen'",
    "SELECT 1 AS x; SELECT 2 AS x",
    "SELECT 1 AS x; SET threads = 1",
    "CREATE TABLE t AS SELECT 1",
    "ATTACH '{outside}/stolen'",
    "SELECT * FROM read_text('{outside}/secret')",
    "SELECT * FROM read_blob('{outside}/secret')",
    "SELECT * FROM '{outside}/secret.csv'",
    "SELECT * FROM glob('{outside}/*')",
    "SELECT * FROM read_parquet('{outside}/*.parquet')",
    "SELECT * FROM query('FROM read_text(''{outside}/secret'')')",
    "SELECT * FROM nowhere",
    "SELECT",
    "",
    "-- nothing",
]


def test_a_view_is_one_select_within_the_tables(workspace: Workspace, views: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    for name in ("secret", "secret.csv"):
        (outside / name).write_text("secret,words\n1,2\n")
    for number, body in enumerate(BAD):
        (views / f"bad{number:02d}.sql").write_text(body.format(outside=outside))
    (views / "good.sql").write_text(GOOD)
    shown = ask(workspace, "SHOW TABLES", {})
    path, left_out = build(workspace, {})
    for told in (shown.left_out, left_out):
        assert named(told) == [f"bad{number:02d}.sql" for number in range(len(BAD))]
        assert all(line.isprintable() and "words" not in line for line in told)
    assert not [name for name in shown.rows["name"].to_pylist() if name.startswith("bad")]
    with duckdb.connect(str(path), read_only=True) as own:
        assert own.execute("SELECT * FROM good").fetchall() == [(2,)]
    assert sorted(file.name for file in outside.iterdir()) == ["secret", "secret.csv"]


def test_a_view_that_reads_only_when_it_is_asked_is_refused_then(
    workspace: Workspace, views: Path, tmp_path: Path
) -> None:
    (tmp_path / "secret.csv").write_text("secret,words\n1,2\n")
    (views / "late.sql").write_text(f"SELECT * FROM sniff_csv('{tmp_path}/secret.csv')")
    with pytest.raises(QueryRefused, match="Permission"):
        ask(workspace, "SELECT * FROM late", {})


def test_a_question_that_fails_says_which_view_was_left_out(workspace: Workspace, views: Path) -> None:
    (views / "broken.sql").write_text("SELECT nothing FROM nowhere")
    with pytest.raises(QueryFailed, match=r"broken does not exist.*; left out views/broken\.sql: ") as refused:
        ask(workspace, "SELECT * FROM broken", {})
    assert str(refused.value).isprintable()


def test_a_bad_view_stops_nothing_but_itself_and_what_stands_on_it(workspace: Workspace, views: Path) -> None:
    (views / "broken.sql").write_text("SELECT nothing FROM nowhere")
    (views / "upon.sql").write_text("SELECT * FROM broken")
    (views / "good.sql").write_text(f"{GOOD}; -- and no more\n")
    (views / "on_good.sql").write_text("SELECT n + 1 AS n FROM good;")
    shown = ask(workspace, "SHOW TABLES", {})
    assert named(shown.left_out) == ["broken.sql", "upon.sql"]
    assert {"good", "on_good", "images"} <= set(shown.rows["name"].to_pylist())
    assert "broken" not in shown.rows["name"].to_pylist()
    assert ask(workspace, "DESCRIBE images", {}).rows.num_rows > 5
    asked = ask(workspace, "SELECT * FROM on_good", {})
    assert (asked.rows["n"].to_pylist(), asked.left_out) == ([3], ())


NOT_FREE = {
    "a-b": "letters, digits and _ only",
    "1st": "letters, digits and _ only",
    "select": "a word of SQL's own",
    "Where": "a word of SQL's own",
    "images": "is a table or a view already",
    "Outcomes": "is a table or a view already",
    "last_outcomes": "is a table or a view already",
    "scores": "is a table or a view already",
    "survivors": "is a table or a view already",
    "given": "is a table or a view already",
}


def test_a_name_that_is_not_free_is_left_out(workspace: Workspace, views: Path) -> None:
    """The table, our view or the word keeps its meaning, in questions and in the catalogue."""
    for name in NOT_FREE:
        (views / f"{name}.sql").write_text("SELECT 'mine' AS subject_id")
    ours = {"scores": "SELECT 'ours' AS x", "survivors(n)": "SELECT n AS x", "given": "SELECT 'ours' AS x"}
    question = (
        "SELECT (SELECT count(*) FROM outcomes) + (SELECT count(*) FROM last_outcomes) AS n, (SELECT x FROM scores) AS s, "
        "(SELECT x FROM survivors(3)) AS v, (SELECT x FROM given) AS g WHERE (SELECT count(*) FROM (SHOW TABLES)) > 20"
    )
    expected = [{"n": 4, "s": "ours", "v": 3, "g": "ours"}]
    asked = ask(workspace, question, ours)
    assert asked.rows.to_pylist() == expected
    path, left_out = build(workspace, ours)
    for told in (asked.left_out, left_out):
        assert {line.split(".sql: ")[0].removeprefix("views/") for line in told} == NOT_FREE.keys()
        assert all(
            NOT_FREE[name.removeprefix("views/")] in why for name, why in (line.split(".sql: ") for line in told)
        )
    with duckdb.connect(str(path), read_only=True) as own:
        assert own.sql(question).to_arrow_table().to_pylist() == expected


def test_files_that_are_no_text_or_cannot_be_read(workspace: Workspace, views: Path) -> None:
    (views / "latin.sql").write_bytes("SELECT 'é'".encode("latin-1"))
    (views / "dangling.sql").symlink_to("nowhere")
    (views / "folder.sql").mkdir()
    (views / "no\udcff.sql").write_text("SELECT 1")
    (views / "notes.txt").write_text("not a view")
    told = ask(workspace, "SHOW TABLES", {}).left_out
    assert named(told) == ["dangling.sql", "folder.sql", "latin.sql", "no\\udcff.sql"]
    assert "not UTF-8" in told[2]
    assert all(line.isprintable() for line in told)


def test_the_same_name_in_two_spellings_is_taken_once(workspace: Workspace, views: Path) -> None:
    (views / "Wide.sql").write_text("SELECT 1 AS x")
    (views / "wide.sql").write_text("SELECT 2 AS x")
    asked = ask(workspace, "SELECT x FROM wide", {})
    assert (asked.rows["x"].to_pylist(), named(asked.left_out)) == ([1], ["wide.sql"])


def test_a_view_left_out_is_told_where_it_is_meant(workspace: Workspace, views: Path) -> None:
    (views / "images.sql").write_text("SELECT 1 AS x")
    assert named(ask(workspace, "SELECT count(*) FROM images", {}).left_out) == ["images.sql"]
    assert ask(workspace, "SELECT count(*) FROM outcomes", {}).left_out == ()
