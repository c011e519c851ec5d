from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from flywheel.errors import AnotherDriver, ConservationError, DiskReserve
from flywheel.records import Status
from flywheel.schemas import TABLES
from flywheel.workspace import Workspace
from pipelines.engine import Settled, Step, drive, outcome_rows
from pipelines.executors import Answers, Batch, Task
from pipelines.executors.inline import InlineExecutor
from pipelines.executors.local import LocalExecutor

SCHEMA = TABLES["tombstones"].schema


def silent(step: str, done: int, total: int | None, counts: object) -> None: ...


def plan_of(batches: Iterable[Batch], settle: Callable[[Batch, Answers], Settled] | None = None) -> Callable[[], Step]:
    step = Step(name="demo", config_hash="c", batches=batches, task=None, settle=settle or settle_all)
    return lambda: step


def settle_all(batch: Batch, answers: Answers) -> Settled:
    rows = pa.Table.from_pylist([{"image_id": name} for name in batch], schema=SCHEMA)
    done = outcome_rows("demo", "c", [(name, 1, Status.OK, None) for name in batch])
    return Settled({"tombstones": rows}, done, Counter({"in": len(batch), "kept": len(batch)}))


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace.init(str(tmp_path / "ws"))


def test_nothing_to_do_starts_nothing_and_records_nothing(workspace: Workspace) -> None:
    before = workspace.tables.versions()
    report = drive(workspace, plan_of([]), InlineExecutor(), ("kept",), silent)
    assert report.run_id is None
    assert workspace.tables.versions() == before


def test_a_run_that_does_not_add_up_fails_and_says_so(workspace: Workspace) -> None:
    def loses_one(batch: Batch, answers: Answers) -> Settled:
        whole = settle_all(batch, answers)
        return Settled(whole.payloads, whole.outcomes, Counter({"in": 2, "kept": 1}))

    with pytest.raises(ConservationError, match="2 came in but 1"):
        drive(workspace, plan_of([["a", "b"]], loses_one), InlineExecutor(), ("kept",), silent)
    assert workspace.query("SELECT status FROM runs")["status"].to_pylist() == ["failed"]


def test_completion_is_committed_after_the_payload(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    from flywheel.workspace.tables import FencedTable

    whole = FencedTable.append

    def dies_at_outcomes(self: FencedTable, rows: pa.Table) -> None:
        if rows.schema.equals(TABLES["outcomes"].schema):
            raise KeyboardInterrupt
        whole(self, rows)

    monkeypatch.setattr(FencedTable, "append", dies_at_outcomes)
    # The run's own events are appends too; only the outcomes are cut off.
    with pytest.raises(KeyboardInterrupt):
        drive(workspace, plan_of([["a"]]), InlineExecutor(), ("kept",), silent)
    monkeypatch.undo()
    assert workspace.query("SELECT count(*) AS n FROM tombstones")["n"].to_pylist() == [1]
    assert workspace.query("SELECT count(*) AS n FROM outcomes")["n"].to_pylist() == [0]


def test_a_plan_that_went_stale_is_read_again_behind_the_start(
    workspace: Workspace, between: Callable[[Callable[[], object]], None]
) -> None:
    def plan() -> Step:
        done = workspace.query("SELECT subject_id FROM outcomes")["subject_id"].to_pylist()
        return plan_of([[name] for name in ("a", "b", "c") if name not in done])()

    def other() -> None:
        drive(workspace, plan_of([["a"], ["b"]]), InlineExecutor(), ("kept",), silent)

    between(other)
    report = drive(workspace, plan, InlineExecutor(), ("kept",), silent)
    assert report.counts == {"in": 1, "kept": 1}
    kept = workspace.query("SELECT image_id FROM tombstones ORDER BY 1")["image_id"].to_pylist()
    assert kept == ["a", "b", "c"]


def test_a_plan_that_nobody_touched_is_read_once(workspace: Workspace) -> None:
    read = []

    def plan() -> Step:
        read.append(1)
        return plan_of([["a"]])()

    drive(workspace, plan, InlineExecutor(), ("kept",), silent)
    assert read == [1]


def test_an_error_that_nobody_foresaw_ends_the_run_too(workspace: Workspace) -> None:
    def breaks(batch: Batch, answers: Answers) -> Settled:
        raise OSError("the disk hiccups")

    with pytest.raises(OSError, match="hiccups"):
        drive(workspace, plan_of([["a"]], breaks), InlineExecutor(), ("kept",), silent)
    assert workspace.query("SELECT status FROM runs")["status"].to_pylist() == ["failed"]
    # The same process may try again: nobody is in its way.
    assert drive(workspace, plan_of([["a"]]), InlineExecutor(), ("kept",), silent).counts["kept"] == 1


def test_a_driver_that_was_overtaken_stops(workspace: Workspace) -> None:
    def overtaken() -> Iterator[list[str]]:
        yield ["a"]
        from flywheel.workspace.tables import FencedTable

        FencedTable(workspace.tables, "outcomes", "demo", "the-other").append(
            outcome_rows("demo", "c", [("z", 1, Status.OK, None)])
        )
        yield ["b"]

    with pytest.raises(AnotherDriver, match="the-other"):
        drive(workspace, plan_of(overtaken()), InlineExecutor(), ("kept",), silent)
    subjects = workspace.query("SELECT subject_id FROM outcomes ORDER BY 1")["subject_id"].to_pylist()
    assert subjects == ["a", "z"]


def test_a_full_disk_pauses_with_whole_tables_and_goes_on_later(workspace: Workspace) -> None:
    def fills_the_disk() -> Iterator[list[str]]:
        yield ["a"]
        workspace.store.write_new("flywheel.toml", b"[run]\ndisk_reserve_mb = 900000000\n")
        workspace.__dict__.pop("config", None)
        yield ["b"]

    with pytest.raises(DiskReserve, match="paused"):
        drive(workspace, plan_of(fills_the_disk()), InlineExecutor(), ("kept",), silent)
    assert workspace.query("SELECT status FROM runs")["status"].to_pylist() == ["paused"]
    kept = [
        name for (name,) in zip(*workspace.query("SELECT image_id FROM tombstones").to_pydict().values(), strict=True)
    ]
    done = workspace.query("SELECT subject_id FROM outcomes")["subject_id"].to_pylist()
    assert kept == done
    workspace.store.write_new("flywheel.toml", b"")
    workspace.__dict__.pop("config", None)
    drive(workspace, plan_of([["c"]]), InlineExecutor(), ("kept",), silent)


def test_at_most_one_micro_batch_a_worker_is_unread() -> None:
    """A kill loses what was answered but not committed: the window is what bounds it."""
    taken: list[int] = []

    def batches() -> Iterator[list[int]]:
        for number in range(12):
            taken.append(number)
            yield [number]

    echo = Task(item="operator:pos", context=None, memory_bytes=None, item_s=30, around=answer_itself)
    for workers in (1, 2, 3):
        taken.clear()
        executor = LocalExecutor(workers)
        read = 0
        for batch, answers in executor.map(echo, batches(), lambda: None):
            read += 1
            assert answers == batch
            assert len(taken) - read <= workers
        assert read == 12


def answer_itself(items: Batch, sandbox: object) -> Answers:
    return items
