"""Rewrites of one table at the same time: no row twice, none lost, no matter who comes first."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError

from flywheel.errors import AnotherDriver
from flywheel.schemas import TABLES
from flywheel.workspace import Workspace, compaction, purge, tables
from flywheel.workspace.storage import Store
from flywheel.workspace.tables import FencedTable

Outcomes = Callable[..., pa.Table]


def store(workspace: Workspace) -> Store:
    return Store(f"{workspace.uri}/tables")


def subjects(workspace: Workspace) -> list[str]:
    found: list[str] = workspace.query("SELECT subject_id FROM outcomes ORDER BY 1")["subject_id"].to_pylist()
    return found


def scattered(workspace: Workspace, outcomes: Outcomes, files: int = 10) -> list[str]:
    """Subjects s00, s01, …, each in a file of its own."""
    names = [f"s{number:02d}" for number in range(files)]
    for name in names:
        workspace.tables.append("outcomes", outcomes(name), run_id="r")
    return names


def test_of_two_compactions_of_one_snapshot_the_second_is_refused(workspace: Workspace, outcomes: Outcomes) -> None:
    names = scattered(workspace, outcomes)
    first, second = (workspace.tables.open("outcomes") for _ in range(2))
    assert compaction.compact(first, store(workspace), "outcomes")
    with pytest.raises(CommitFailedError):
        compaction.compact(second, store(workspace), "outcomes")
    assert subjects(workspace) == names
    files = [Path(path).name for path in purge.data_files(workspace, "outcomes")]
    assert len(files) == len(names) + 1  # the refused one took its own file away again


def test_the_loser_of_a_compaction_goes_on(
    workspace: Workspace, outcomes: Outcomes, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = scattered(workspace, outcomes)
    fenced = FencedTable(workspace.tables, "outcomes", "measure", "run")
    whole = compaction.compact

    def overtaken(table: DeltaTable, store: Store, name: str) -> bool:
        whole(DeltaTable(table.table_uri), store, name)
        return whole(table, store, name)

    monkeypatch.setattr(compaction, "compact", overtaken)
    fenced.compact()
    fenced.append(outcomes("after", step="measure"))
    assert subjects(workspace) == ["after", *names]


def test_what_is_appended_meanwhile_stays_beside_it(workspace: Workspace, outcomes: Outcomes) -> None:
    names = scattered(workspace, outcomes)
    stale = workspace.tables.open("outcomes")
    FencedTable(workspace.tables, "outcomes", "ingest", "run").append(outcomes("new"))
    assert compaction.compact(stale, store(workspace), "outcomes")
    assert subjects(workspace) == ["new", *names]
    assert len(workspace.tables.open("outcomes").file_uris()) == 2


def test_a_compaction_never_brings_back_what_was_deleted(workspace: Workspace, outcomes: Outcomes) -> None:
    names = scattered(workspace, outcomes)
    stale = workspace.tables.open("outcomes")
    gone = pa.table({"subject_id": ["s03"]})
    assert workspace.tables.delete_keys("outcomes", gone, run_id="forget") == 1
    with pytest.raises(CommitFailedError):
        compaction.compact(stale, store(workspace), "outcomes")
    assert subjects(workspace) == [name for name in names if name != "s03"]


@pytest.mark.parametrize("rewrite", ["delete", "update", "replace"])
def test_a_rewrite_that_was_overtaken_is_done_again(
    workspace: Workspace,
    images: Callable[[dict[str, str]], pa.Table],
    rewrite: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Between opening the table and its commit, a compaction and an append come first."""
    for number in range(10):
        workspace.tables.append("images", images({f"i{number}": "old"}), run_id="r")
    opened, meanwhile = workspace.tables.open, iter([True])

    def overtaken(name: str, version: int | None = None) -> DeltaTable:
        table = opened(name, version)
        if next(meanwhile, False):
            compaction.compact(opened(name), store(workspace), name)
            workspace.tables.append(name, images({"late": "late"}), run_id="other")
        return table

    monkeypatch.setattr(workspace.tables, "open", overtaken)
    held = {f"i{number}": "old" for number in range(10)}
    if rewrite == "delete":
        assert workspace.tables.delete_keys("images", pa.table({"image_id": ["i3"]}), run_id="x") == 1
        expected = {name: uri for name, uri in held.items() if name != "i3"} | {"late": "late"}
    elif rewrite == "update":
        row = {"image_id": "i3", "uri": "new"}
        workspace.tables.update_rows("images", [row], key="image_id", run_id="x")
        expected = held | {"i3": "new", "late": "late"}
    else:
        workspace.tables.replace("images", images({"only": "one"}), run_id="x")
        expected = {"only": "one"}
    rows = workspace.query("SELECT image_id, uri FROM images").to_pylist()
    assert sorted((row["image_id"], row["uri"]) for row in rows) == sorted(expected.items())


def test_whoever_is_always_overtaken_says_so_in_one_line(
    workspace: Workspace, outcomes: Outcomes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "_WAIT_S", 0.0)
    monkeypatch.setattr(tables, "_ATTEMPTS", 3)
    scattered(workspace, outcomes, 2)
    opened = workspace.tables.open

    def overtaken(name: str, version: int | None = None) -> DeltaTable:
        table = opened(name, version)
        DeltaTable(workspace.tables.uri(name)).delete("subject_id = 's00'")
        tables.write_deltalake(workspace.tables.uri(name), outcomes("s00"), mode="append")
        return table

    monkeypatch.setattr(workspace.tables, "open", overtaken)
    with pytest.raises(AnotherDriver, match="outcomes 3 times") as refused:
        workspace.tables.delete_keys("outcomes", pa.table({"subject_id": ["s00"]}), run_id="x")
    assert "\n" not in str(refused.value)


def test_an_append_that_lost_races_is_told_from_one_that_was_overtaken(
    workspace: Workspace, outcomes: Outcomes, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, races = tables.write_deltalake, iter([True])

    def lost_once(*arguments: object, **named: object) -> None:
        if next(races, False):
            raise CommitFailedError("15 attempts")
        whole(*arguments, **named)

    monkeypatch.setattr(tables, "write_deltalake", lost_once)
    FencedTable(workspace.tables, "outcomes", "ingest", "run-1").append(outcomes("a"))
    assert subjects(workspace) == ["a"]


def test_statistics_stay_and_text_stays_out_of_the_log(workspace: Workspace) -> None:
    schema = TABLES["sources"].schema
    for number in range(3):
        row = {"source_id": f"s{number}", "uri": "file:///secret-place", "image_id": f"i{number}", "dataset": "d"}
        workspace.tables.append("sources", pa.Table.from_pylist([row], schema=schema), run_id="r")
    compaction.compact(workspace.tables.open("sources"), store(workspace), "sources")
    actions = pa.table(workspace.tables.open("sources").get_add_actions(flatten=True))
    (told,) = actions.to_pylist()
    assert (told["num_records"], told["min.image_id"], told["max.image_id"]) == (3, "i0", "i2")
    log = b"".join(file.read_bytes() for file in (workspace.path / "tables/sources/_delta_log").iterdir())
    assert b"secret" not in log


def test_a_compaction_is_no_write_of_new_rows(workspace: Workspace, outcomes: Outcomes) -> None:
    scattered(workspace, outcomes)
    workspace.tables.compact("outcomes")
    version = workspace.tables.open("outcomes").version()
    log = workspace.store.read(f"tables/outcomes/_delta_log/{version:020d}.json")
    assert b'"remove"' in log
    assert tables.commit_files(log)[1] == []


def test_every_column_and_every_width_of_text_survives(workspace: Workspace) -> None:
    """Among files with fewer columns, and those that delta-rs rewrote with another type of text."""
    folder = workspace.path / "tables" / "score_x"
    DeltaTable.create(str(folder), schema=pa.schema([("image_id", pa.string()), ("x", pa.float32())]))
    tables.write_deltalake(
        str(folder), pa.table({"image_id": ["a"], "x": pa.array([0.5], pa.float32())}), mode="append"
    )
    wider = pa.table({"image_id": ["b"], "x": pa.array([None], pa.float32()), "keys": pa.array([b"\xff"])})
    tables.write_deltalake(str(folder), wider, mode="append", schema_mode="merge")
    workspace.tables.update_rows("score_x", [{"image_id": "a", "x": 2.0}], key="image_id", run_id="x")
    before = workspace.query("SELECT * FROM score_x ORDER BY image_id").to_pylist()
    assert compaction.compact(workspace.tables.open("score_x"), store(workspace), "score_x")
    assert workspace.query("SELECT * FROM score_x ORDER BY image_id").to_pylist() == before
    assert [row["keys"] for row in before] == [None, b"\xff"]


def test_large_files_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compaction, "_TARGET_BYTES", 100)
    sizes = {"a": 40, "b": 100, "c": 40, "d": 30, "e": 99, "f": 1}
    files = {name: compaction._File(name, size) for name, size in sizes.items()}
    groups = compaction._groups(list(files.values()))
    assert ["".join(file.path for file in group) for group in groups] == ["ac", "ef"]
    assert compaction._groups([files["b"], files["e"], files["b"]]) == []


def test_a_newer_program_s_table_is_left_alone(
    workspace: Workspace, outcomes: Outcomes, monkeypatch: pytest.MonkeyPatch
) -> None:
    scattered(workspace, outcomes)
    table = workspace.tables.open("outcomes")
    monkeypatch.setattr(DeltaTable, "protocol", lambda self: type("P", (), {"min_reader_version": 3})())
    assert not compaction.compact(table, store(workspace), "outcomes")


def test_row_groups_hold_many_small_files(workspace: Workspace, outcomes: Outcomes) -> None:
    scattered(workspace, outcomes)
    workspace.tables.compact("outcomes")
    (file,) = workspace.tables.relation("outcomes").files
    assert pq.read_metadata(file).num_row_groups == 1


def test_a_mark_of_time_tells_vacuum_how_old_a_removal_is(workspace: Workspace, outcomes: Outcomes) -> None:
    before = time.time_ns() // 1_000_000
    scattered(workspace, outcomes)
    workspace.tables.compact("outcomes")
    kept = workspace.tables.open("outcomes").vacuum(retention_hours=24, dry_run=True)
    assert kept == []
    version = workspace.tables.open("outcomes").version()
    log = workspace.store.read(f"tables/outcomes/_delta_log/{version:020d}.json").decode()
    stamps = [
        action["remove"]["deletionTimestamp"] for line in log.splitlines() if "remove" in (action := json.loads(line))
    ]
    assert len(stamps) == 10
    assert all(before <= stamp <= time.time_ns() // 1_000_000 for stamp in stamps)
