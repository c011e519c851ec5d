from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from flywheel.errors import (
    AnotherDriver,
    FlywheelError,
    UsageError,
    WorkspaceMissing,
    WorkspaceTooNew,
    WorkspaceTooOld,
)
from flywheel.schemas import TABLES, TableSpec, score_spec
from flywheel.workspace import Workspace, migrations, runs
from flywheel.workspace.migrations import Migration
from flywheel.workspace.tables import FencedTable

OUTCOMES = TABLES["outcomes"].schema


def outcome(subject: str) -> pa.Table:
    row = {
        "step": "ingest",
        "subject_id": subject,
        "config_hash": "c",
        "attempt": 1,
        "status": "ok",
        "retryable": False,
    }
    return pa.Table.from_pylist([row], schema=OUTCOMES)


def test_a_second_driver_is_stopped_and_keys_stay_unique(workspace: Workspace) -> None:
    first = FencedTable(workspace.tables, "outcomes", "ingest", "run-1")
    second = FencedTable(workspace.tables, "outcomes", "ingest", "run-2")
    first.append(outcome("a"))
    with pytest.raises(AnotherDriver, match="run-1"):
        second.append(outcome("a"))
    first.append(outcome("b"))
    assert workspace.query("SELECT subject_id FROM outcomes ORDER BY 1")["subject_id"].to_pylist() == ["a", "b"]


def test_two_steps_append_to_one_table_side_by_side(workspace: Workspace) -> None:
    ingest = FencedTable(workspace.tables, "outcomes", "ingest", "run-1")
    measure = FencedTable(workspace.tables, "outcomes", "measure.native", "run-2")
    for number in range(3):
        ingest.append(outcome(f"i{number}"))
        measure.append(outcome(f"m{number}"))
    assert workspace.query("SELECT count(DISTINCT subject_id) AS n FROM outcomes")["n"].to_pylist() == [6]


def test_compaction_keeps_rows_and_fences(workspace: Workspace) -> None:
    table = FencedTable(workspace.tables, "outcomes", "ingest", "run-1")
    for number in range(12):
        table.append(outcome(f"s{number:02d}"))
    table.compact()
    table.append(outcome("after"))
    assert len(workspace.tables.open("outcomes").file_uris()) == 2
    assert workspace.query("SELECT count(*) AS n FROM outcomes")["n"].to_pylist() == [13]
    FencedTable(workspace.tables, "outcomes", "ingest", "run-2").append(outcome("resumed"))


def test_captions_and_places_stay_out_of_the_log(workspace: Workspace) -> None:
    row = {"source_id": "s", "uri": "file:///secret-place", "caption": "secret words", "dataset": "d"}
    workspace.tables.append("sources", pa.Table.from_pylist([row], schema=TABLES["sources"].schema), run_id="r")
    log = b"".join(file.read_bytes() for file in (workspace.path / "tables/sources/_delta_log").iterdir())
    assert b"secret" not in log


def test_a_column_added_by_a_migration_reads_as_null_in_old_rows(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = {"image_id": "i", "why": "w"}
    workspace.tables.append("tombstones", pa.Table.from_pylist([row], schema=TABLES["tombstones"].schema), run_id="r")
    spec = TABLES["tombstones"]
    wider = TableSpec(
        name=spec.name, key=spec.key, schema=spec.schema.append(pa.field("court", pa.string())), says=spec.says
    )
    later = Migration(
        migrations.FORMAT + 1, "who ordered it", (wider, score_spec("beauty", "x", {"beauty": pa.float64()}))
    )
    monkeypatch.setattr(migrations, "MIGRATIONS", (*migrations.MIGRATIONS, later))
    monkeypatch.setattr(migrations.pending, "__defaults__", (migrations.MIGRATIONS,))
    monkeypatch.setattr(migrations, "FORMAT", later.number)
    with pytest.raises(WorkspaceTooOld, match="flywheel migrate"):
        Workspace.open(workspace.uri)
    old = Workspace.locate(workspace.uri)
    planned = old.migrate(dry_run=True)
    assert any("tombstones.court" in line for line in planned)
    assert "court" not in Workspace.locate(workspace.uri).query("SELECT * FROM tombstones").column_names
    assert old.migrate(dry_run=False) == planned
    assert Workspace.open(workspace.uri).query("SELECT image_id, court FROM tombstones").to_pylist() == [
        {"image_id": "i", "court": None}
    ]
    assert old.migrate(dry_run=False) == []


def test_a_newer_workspace_is_refused_in_one_line(workspace: Workspace) -> None:
    workspace.store.write_new("tables/format.json", b'{"format": 99}')
    with pytest.raises(WorkspaceTooNew) as refused:
        Workspace.open(workspace.uri)
    assert "\n" not in str(refused.value)


def test_migrate_refuses_a_newer_workspace_too(workspace: Workspace) -> None:
    workspace.store.write_new("tables/format.json", b'{"format": 99}')
    for dry_run in (True, False):
        with pytest.raises(WorkspaceTooNew, match="has format 99"):
            Workspace.locate(workspace.uri).migrate(dry_run=dry_run)
    assert workspace.format == 99


@pytest.mark.parametrize("content", [None, b"", b"{}", b"[1]", b'{"format": "x"}', b"\xff\xfe", b"null"])
def test_a_workspace_whose_format_cannot_be_read_says_what_to_do(workspace: Workspace, content: bytes | None) -> None:
    if content is None:
        workspace.store.delete("tables/format.json")
    else:
        workspace.store.write_new("tables/format.json", content)
    for act in (Workspace.open, lambda uri: Workspace.locate(uri).migrate(dry_run=True)):
        with pytest.raises(FlywheelError, match=r"tables/format.json is missing or damaged.*put the file back"):
            act(workspace.uri)


def test_a_configuration_that_is_no_text_is_named(workspace: Workspace) -> None:
    workspace.store.write_new("flywheel.toml", b"[sql]\n# caf\xe9\n")
    with pytest.raises(UsageError, match=r"flywheel\.toml is not UTF-8 text"):
        _ = Workspace.open(workspace.uri).config


def test_two_who_make_the_same_tables_at_once_both_go_on(tmp_path: Path) -> None:
    """As two commands do that are the first to know a new scorer, or a new column of one."""
    code = (
        "import sys, pyarrow as pa\nfrom flywheel.schemas import score_spec\nfrom flywheel.workspace import Workspace\n"
        "w = Workspace.open(sys.argv[1])\n"
        "for line in sys.stdin:\n"
        "    columns = {f'x{n}': pa.float64() for n in range(int(line) % 2 + 1)}\n"
        "    w.tables.ensure(score_spec(f's{int(line) // 2}', 'says', columns))\n    print('done', flush=True)\n"
    )
    made = Workspace.init(str(tmp_path / "ws"))
    command = [sys.executable, "-c", code, made.uri]
    pair = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) for _ in range(2)
    ]
    try:
        for number in range(12):
            for process in pair:
                print(number, file=process.stdin, flush=True)
            assert [process.stdout.readline() for process in pair if process.stdout] == ["done\n"] * 2
            schema = made.tables.relation(f"score_s{number // 2}").schema
            assert [name for name in schema.names if name.startswith("x")] == ["x0", "x1"][: number % 2 + 1]
    finally:
        for process in pair:
            process.kill()
            process.wait()


def test_opening_nothing_and_making_twice(tmp_path: Path) -> None:
    with pytest.raises(WorkspaceMissing, match="flywheel init"):
        Workspace.open(str(tmp_path / "none"))
    Workspace.init(str(tmp_path / "ws"))
    with pytest.raises(UsageError, match="already"):
        Workspace.init(str(tmp_path / "ws"))


@pytest.mark.parametrize("line", ["max_pixels = -1", "max_pixel = 3", "decode_s = 'soon'"])
def test_a_wrong_configuration_names_its_entry(workspace: Workspace, line: str) -> None:
    workspace.store.write_new("flywheel.toml", f"[ingest]\n{line}\n".encode())
    with pytest.raises(UsageError, match=r"ingest\."):
        _ = Workspace.open(workspace.uri).config


def test_a_live_driver_is_named_and_a_dead_one_superseded(workspace: Workspace) -> None:
    run = runs.start(workspace, "ingest")
    with pytest.raises(AnotherDriver, match=run.run_id):
        runs.start(workspace, "ingest")
    runs.start(workspace, "measure.native").end("finished", {})
    run.end("finished", {"in": 1})
    again = runs.start(workspace, "ingest")
    again.event("heartbeat", driver=None)
    dead = runs.start(workspace, "filter")
    dead.event("started", driver='{{"host": "{}", "pid": 2, "born": 1.0}}'.format(__import__("socket").gethostname()))
    rows = {row["run_id"]: row for row in workspace.query("SELECT run_id, status, counts FROM runs").to_pylist()}
    assert rows[run.run_id]["status"] == "finished"
    assert rows[run.run_id]["counts"] == '{"in": 1}'
    assert rows[again.run_id]["status"] == "running"
