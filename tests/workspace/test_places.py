"""Workspaces in folders whose names people do give."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from flywheel.errors import UsageError
from flywheel.workspace import Workspace
from flywheel.workspace.catalog import build
from flywheel.workspace.maintain import compact, vacuum
from flywheel.workspace.places import file_uri
from flywheel.workspace.query import ask

NAMES = [" a b ", "übung 画像", "a#b?c", "100% a%zz", 'it\'s "x" {y} *&;~']


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_of_any_usual_name_holds_a_workspace(
    tmp_path: Path, name: str, outcomes: Callable[..., pa.Table]
) -> None:
    place = tmp_path / name
    Workspace.init(str(place))
    made = Workspace.open(file_uri(str(place)))  # as a table or a report would name it
    for number in range(10):
        made.tables.append("outcomes", outcomes(f"s{number}"), run_id="r")
    assert made.tables.delete_keys("outcomes", pa.table({"subject_id": ["s3"]}), run_id="r") == 1
    compact(made, "outcomes")
    assert vacuum(made, "outcomes", set(), 10, dry_run=True).files_after == 1
    assert all(Path(file).is_file() for file in made.tables.relation("outcomes").files)

    count = "SELECT count(*) AS n FROM outcomes"
    (place / "views" / "mine.sql").write_text(count)
    assert made.query(count)["n"].to_pylist() == [9]
    assert ask(made, "SELECT * FROM mine", {}).rows["n"].to_pylist() == [9]
    path, left_out = build(made, {})
    assert (path, left_out) == (place / "catalog.duckdb", [])
    with duckdb.connect(str(path), read_only=True) as own:
        assert own.execute("SELECT * FROM mine").fetchall() == [(9,)]
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(("name", "beside"), [("a?b", "axb"), ("a*b", "a long b")])
def test_a_name_is_no_pattern(tmp_path: Path, name: str, beside: str, outcomes: Callable[..., pa.Table]) -> None:
    """A copy beside it, whose name the first one would fit, is not read with it."""
    made = Workspace.init(str(tmp_path / name))
    made.tables.append("outcomes", outcomes("one"), run_id="r")
    shutil.copytree(tmp_path / name, tmp_path / beside)
    count = "SELECT count(*) AS n FROM outcomes"
    assert made.query(count)["n"].to_pylist() == [1]
    assert ask(made, count, {}).rows["n"].to_pylist() == [1]


@pytest.mark.parametrize("name", ["w[1]", "a]b", "a\\b", "a^b", "a|b", "a\nb", "a%20b", "a\udcffb"])
def test_a_name_that_delta_cannot_address_is_refused_in_one_line(tmp_path: Path, name: str) -> None:
    for attempt in (Workspace.init, Workspace.open):
        with pytest.raises(UsageError, match="use another folder") as refused:
            attempt(str(tmp_path / name / "ws"))
        assert str(refused.value).isprintable()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("", "no name"),
        ("  ", "no name"),
        ("/", "root"),
        ("{file}", "Not a directory"),
        ("{file}/x", "Not a directory"),
        ("/proc/x", "cannot be made"),
    ],
)
def test_where_no_workspace_can_be(tmp_path: Path, place: str, words: str) -> None:
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(UsageError, match=words) as refused:
        Workspace.init(place.format(file=file))
    assert "\n" not in str(refused.value)
    assert list(tmp_path.iterdir()) == [file]
