"""Processes that rewrite one table at the same time: no row twice, none lost."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Callable

import pyarrow as pa

from flywheel.workspace import Workspace

_ROLES = """
import sys, time
import pyarrow as pa
from deltalake.exceptions import CommitFailedError
from flywheel.schemas import TABLES
from flywheel.workspace import Workspace, compaction
from flywheel.workspace.storage import Store
from flywheel.workspace.tables import FencedTable

place, role, who, rounds = sys.argv[1:4] + [int(sys.argv[4])]
workspace, store = Workspace.open(place), Store(place + "/tables")
fenced = FencedTable(workspace.tables, "outcomes", who, who)

def rows(*subjects):
    every = [
        {"step": who, "subject_id": s, "config_hash": "c", "attempt": 1, "status": "ok", "retryable": False}
        for s in subjects
    ]
    return pa.Table.from_pylist(every, schema=TABLES["outcomes"].schema)

for number in range(rounds):
    if role == "compact":
        try:
            print("won" if compaction.compact(workspace.tables.open("outcomes"), store, "outcomes") else "idle")
        except CommitFailedError:
            print("lost")
        time.sleep(0.02)
    else:
        fenced.append(rows(f"{number}-stays", f"{number}-goes"))
        keys = pa.table({"step": [who], "subject_id": [f"{number}-goes"]})
        print(workspace.tables.delete_keys("outcomes", keys, run_id=who))
        time.sleep(0.05)
"""


def test_processes_that_compact_append_and_delete_at_once(workspace: Workspace) -> None:
    roles = [("compact", "c1", 40), ("compact", "c2", 40), ("write", "w1", 6), ("write", "w2", 6)]
    began = [
        subprocess.Popen(
            [sys.executable, "-c", _ROLES, workspace.uri, role, who, str(rounds)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for role, who, rounds in roles
    ]
    ended = [process.communicate(timeout=200) for process in began]
    assert [process.returncode for process in began] == [0] * len(roles), [err for _, err in ended]
    compacted = Counter(ended[0][0].split() + ended[1][0].split())
    assert compacted["won"] > 5, compacted
    assert [out.split() for out, _ in ended[2:]] == [["1"] * 6] * 2  # each deleted its own row, once
    rows = workspace.query("SELECT step, subject_id FROM outcomes").to_pylist()
    expected = [(who, f"{number}-stays") for who in ("w1", "w2") for number in range(6)]
    assert sorted((row["step"], row["subject_id"]) for row in rows) == sorted(expected)


def test_two_processes_compact_the_same_files_in_many_rounds(
    workspace: Workspace, outcomes: Callable[..., pa.Table]
) -> None:
    """Both open the same version and start together: without a fence nearly every round doubles the rows."""
    code = (
        "import sys\nfrom flywheel.workspace import Workspace\nw = Workspace.open(sys.argv[1])\n"
        "for line in sys.stdin:\n    w.tables.compact('outcomes')\n    print('done', flush=True)\n"
    )
    command = [sys.executable, "-c", code, workspace.uri]
    pair = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) for _ in range(2)
    ]
    try:
        for number in range(6):
            names = [f"{number}-{n}" for n in range(10)]
            for name in names:
                workspace.tables.append("outcomes", outcomes(*(f"{name}-{n}" for n in range(50))), run_id="r")
            for process in pair:
                print("go", file=process.stdin, flush=True)
            assert [process.stdout.readline() for process in pair if process.stdout] == ["done\n"] * 2
            counted = workspace.query("SELECT count(*) AS n, count(DISTINCT subject_id) AS d FROM outcomes").to_pylist()
            assert counted == [{"n": 500 * (number + 1), "d": 500 * (number + 1)}]
    finally:
        for process in pair:
            process.kill()
            process.wait()
