"""Readers while files are replaced and really removed: whatever they opened stays readable for a day."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta

import pyarrow as pa

from flywheel.workspace import Workspace
from flywheel.workspace.catalog import build
from flywheel.workspace.maintain import compact, vacuum

ROUNDS, FILES = 4, 10

# Reads without pause: what it planned a while ago (a server, a long export), the catalogue, a new question.
_READER = """
import sys, duckdb
from flywheel.workspace import Workspace
from flywheel.workspace.engine import plan, run
workspace = Workspace.open(sys.argv[1])
COUNT = "SELECT count(*) AS n, count(DISTINCT subject_id) AS d FROM outcomes"
held, least = [], 0
while not (workspace.path / "stop").exists():
    prepared = plan(workspace.tables, COUNT, {})
    (told,) = run(prepared, COUNT).to_pylist()
    assert told["n"] == told["d"] >= least, (told, least)
    least = told["n"]
    held = [*held[-1:], (prepared, told)]
    for earlier, then in held:
        assert run(earlier, COUNT).to_pylist() == [then], then
    with duckdb.connect(str(workspace.path / "catalog.duckdb"), read_only=True) as connection:
        n, d = connection.execute(COUNT).fetchall()[0]
    assert n == d
    print(least, flush=True)
"""


def test_readers_never_see_an_error_while_files_are_compacted_and_vacuumed(
    workspace: Workspace, outcomes: Callable[..., pa.Table]
) -> None:
    workspace.tables.append("outcomes", outcomes("first"), run_id="r")
    build(workspace, {})
    command = [sys.executable, "-c", _READER, str(workspace.path)]
    reader = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    vacuumed = []
    try:
        for number in range(ROUNDS):
            for n in range(FILES):
                workspace.tables.append("outcomes", outcomes(f"{number}-{n}"), run_id="r")
            let_a_day_pass(workspace)
            compact(workspace, "outcomes")
            build(workspace, {})
            vacuumed.append(vacuum(workspace, "outcomes", set(), 0, dry_run=False).vacuumed)
            read_until(reader, 1 + FILES * (number + 1), loops=3)
    finally:
        (workspace.path / "stop").touch()
        _, err = reader.communicate(timeout=60)
    assert reader.returncode == 0, err
    # Each round removed the files that the round before had replaced, none sooner.
    assert vacuumed == [0, *[FILES + 1] * (ROUNDS - 1)]


def read_until(reader: subprocess.Popen[str], rows: int, loops: int) -> None:
    """Wait until the reader has seen so many rows, several times over: it then holds nothing older."""
    assert reader.stdout is not None
    seen = 0
    while seen < loops:
        line = reader.stdout.readline()
        assert line, reader.communicate()[1]
        seen += int(line) >= rows


def let_a_day_pass(workspace: Workspace) -> None:
    """For what was removed until now: vacuum goes by the time that the log gives to each removal."""
    day_ms = int(timedelta(hours=25) / timedelta(milliseconds=1))
    for commit in (workspace.path / "tables/outcomes/_delta_log").glob("*.json"):
        actions = [json.loads(line) for line in commit.read_text().splitlines()]
        for action in actions:
            if "remove" in action:
                action["remove"]["deletionTimestamp"] -= day_ms
        aside = workspace.path / "aside"
        aside.write_text("".join(json.dumps(action) + "\n" for action in actions))
        os.replace(aside, commit)  # whole at any moment, as the reader is reading it
