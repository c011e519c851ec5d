"""What a kill leaves half-written, and what happens between a plan and its run: keys stay unique, nothing is lost."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from filters.scorers import SCORERS
from flywheel.errors import AnotherDriver
from flywheel.records import Failure, Reason
from flywheel.schemas import TABLES
from flywheel.workspace import Workspace, runs
from flywheel.workspace.tables import FencedTable
from pipelines import domains, duplicates, forget, pairs
from pipelines.ingest import ingest
from pipelines.judging import init_workspace, judging_views
from pipelines.measure import measure
from pipelines.retry import Call, calls, retry

Pictures = Callable[[str, int], Path]
DieAt = Callable[[str, int, Callable[[], object]], None]
Between = Callable[[Callable[[], object]], None]

_NOT_COMPARED = {"run_events", "policies", "policy_events"}


def silent(step: str, done: int, total: int | None, counts: object) -> None: ...


def contents(workspace: Workspace) -> dict[str, list[str]]:
    return {
        name: sorted(str(row) for row in workspace.query(f"SELECT * FROM {name}").to_pylist())
        for name in workspace.tables.names()
        if name not in _NOT_COMPARED
    }


def assert_keys_unique(workspace: Workspace) -> None:
    for spec in [*TABLES.values(), *(scorer.table for scorer in SCORERS.values())]:
        keys = ", ".join(spec.key)
        twice = workspace.query(f"SELECT {keys}, count(*) AS n FROM {spec.name} GROUP BY ALL HAVING n > 1")
        assert twice.to_pylist() == [], spec.name


@pytest.mark.parametrize("table", ["score_tone", "images", "sources", "outcomes"])
def test_another_source_between_a_kill_and_its_resumption(
    table: str, small: Workspace, pictures: Pictures, direct: type, die_at: DieAt, tmp_path: Path
) -> None:
    first, other = pictures("first", 5), pictures("other", 3)
    (first / "cut.png").write_bytes((first / "0.png").read_bytes()[:60])
    undisturbed = init_workspace(str(tmp_path / "undisturbed"), "cpu")
    for source in (other, first):
        ingest(undisturbed, [str(source)], direct(), silent)
    die_at(table, 1, lambda: ingest(small, [str(first)], direct(), silent))
    ingest(small, [str(other)], direct(), silent)
    ingest(small, [str(first)], direct(), silent)
    assert_keys_unique(small)
    assert contents(small) == contents(undisturbed)


@pytest.mark.parametrize("table", ["images", "sources", "outcomes"])
def test_measuring_between_a_kill_and_its_resumption(
    table: str, small: Workspace, pictures: Pictures, direct: type, die_at: DieAt
) -> None:
    folder = pictures("folder", 5)
    die_at(table, 1, lambda: ingest(small, [str(folder)], direct(), silent))
    measure(small, "scaled", direct(), silent)
    domains.name_domains(small, silent)
    ingest(small, [str(folder)], direct(), silent)
    measure(small, "scaled", direct(), silent)
    assert_keys_unique(small)
    measured = small.query("SELECT count(*) AS n FROM outcomes WHERE step = 'measure.scaled' AND status = 'ok'")
    assert measured["n"].to_pylist() == [5]


def test_measuring_while_an_ingest_commits(
    small: Workspace, pictures: Pictures, direct: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = FencedTable.append

    def measures_first(self: FencedTable, rows: pa.Table) -> None:
        if self._name == "outcomes" and self._step == "ingest":
            measure(small, "scaled", direct(), silent)
        whole(self, rows)

    monkeypatch.setattr(FencedTable, "append", measures_first)
    ingest(small, [str(pictures("folder", 4))], direct(), silent)
    assert_keys_unique(small)
    measured = small.query("SELECT count(*) AS n FROM outcomes WHERE step = 'measure.scaled'")
    assert measured["n"].to_pylist() == [4]


STEPS: dict[str, Callable[[Workspace, Path, type], object]] = {
    "ingest": lambda workspace, folder, direct: ingest(workspace, [str(folder)], direct(), silent),
    "measure": lambda workspace, folder, direct: measure(workspace, "native", direct(), silent),
    "domains": lambda workspace, folder, direct: domains.name_domains(workspace, silent),
    "duplicates": lambda workspace, folder, direct: duplicates.find(workspace, silent),
    "pairs": lambda workspace, folder, direct: pairs.add_pairs(workspace, folder / "pairs.jsonl", "p", silent),
}


@pytest.mark.parametrize("name", STEPS)
def test_what_another_driver_did_after_the_plan_is_not_done_again(
    name: str, small: Workspace, pictures: Pictures, direct: type, between: Between
) -> None:
    folder = pictures("folder", 4)
    lines = [{"references": ["0.png"], "target": f"{n}.png", "instruction": f"make it {n}"} for n in (1, 2, 3)]
    (folder / "pairs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    if name != "ingest":
        STEPS["ingest"](small, folder, direct)
    between(lambda: STEPS[name](small, folder, direct))
    STEPS[name](small, folder, direct)
    assert_keys_unique(small)
    (first, second) = small.query(
        f"SELECT counts FROM runs WHERE starts_with(step, '{'measure.domain' if name == 'domains' else name}') "
        "AND step <> 'measure.scaled' ORDER BY started_at, run_id"
    )["counts"].to_pylist()[-2:]
    assert json.loads(first)["in"] >= 3
    assert json.loads(second).get("new", 0) == json.loads(second).get("measured", 0) == 0


def test_what_was_forgotten_after_the_plan_does_not_come_back(
    small: Workspace, pictures: Pictures, direct: type, between: Between
) -> None:
    first, second = pictures("first", 1), pictures("second", 1)
    (second / "again.png").write_bytes((first / "0.png").read_bytes())
    (second / "again.txt").write_text("a caption to forget")
    ingest(small, [str(first)], direct(), silent)
    [image] = small.query("SELECT image_id FROM images")["image_id"].to_pylist()
    between(lambda: forget.forget(small, [image], judging_views(small), actor="me", why="asked"))
    report = ingest(small, [str(second)], direct(), silent)
    assert report.counts["rejected:forgotten"] == 1
    assert small.query(f"SELECT * FROM images WHERE image_id = '{image}'").num_rows == 0
    assert small.query("SELECT * FROM sources WHERE caption IS NOT NULL").num_rows == 0


@pytest.mark.parametrize("step", runs.TAKING)
def test_nothing_starts_beside_what_takes_rows_away(step: str, small: Workspace) -> None:
    taking = runs.start(small, step)
    for name in ("ingest", "verify", *runs.TAKING):
        with pytest.raises(AnotherDriver, match=taking.run_id):
            runs.start(small, name)
    assert small.query("SELECT run_id FROM runs")["run_id"].to_pylist() == [taking.run_id]
    taking.end("finished", {})
    runs.start(small, "ingest").end("finished", {})


def test_of_two_that_begin_together_one_steps_back(small: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, event = [], runs.Run.event

    def a_moment_later(self: runs.Run, name: str, **columns: object) -> None:
        if name == "started" and not begun:
            begun.append(self.run_id)
            begun.append(runs.start(small, "forget").run_id)
        event(self, name, **columns)

    monkeypatch.setattr(runs.Run, "event", a_moment_later)
    with pytest.raises(AnotherDriver, match="forget"):
        runs.start(small, "ingest")
    status = small.query("SELECT run_id, status FROM runs").to_pydict()
    assert dict(zip(*status.values(), strict=True)) == {begun[0]: "refused", begun[1]: "running"}


def fails(item: object) -> Failure | None:
    return Failure(Reason.DECODER_DIED, "as if") if str(getattr(item, "uri", "")).endswith("1.png") else None


@pytest.mark.parametrize("table", ["score_tone", "images", "sources", "outcomes"])
def test_a_killed_retry_strands_nothing(
    table: str, small: Workspace, pictures: Pictures, direct: type, die_at: DieAt
) -> None:
    folder = pictures("folder", 3)
    ingest(small, [str(folder)], direct(fails), silent, dataset="named", copy_all=False)
    die_at(table, 0, lambda: retry(small, direct(), silent))
    assert calls(small) == [Call(folder.as_uri(), "named", False)]
    (tried, *_) = retry(small, direct(), silent).steps
    assert tried.counts["new"] == 1
    assert_keys_unique(small)
    rows = small.query("SELECT dataset, image_id FROM sources").to_pylist()
    assert len(rows) == 3
    assert all(row["dataset"] == "named" and row["image_id"] for row in rows)
    assert calls(small) == []


def test_a_retry_repeats_the_call_from_any_folder(
    small: Workspace, pictures: Pictures, direct: type, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("first", "second"):
        pictures(name, 2)
    monkeypatch.chdir(tmp_path)
    ingest(small, ["first"], direct(fails), silent, dataset="mine", copy_all=True)
    ingest(small, ["second/."], direct(fails), silent)
    monkeypatch.chdir("/")
    assert calls(small) == [
        Call((tmp_path / "first").as_uri(), "mine", True),
        Call((tmp_path / "second").as_uri(), "second", False),
    ]
    report = retry(small, direct(), silent)
    assert [step.counts.get("new") for step in report.steps[:2]] == [1, 1]
    asked = small.query("SELECT DISTINCT dataset, copied FROM sources ORDER BY 1").to_pylist()
    assert asked == [{"dataset": "mine", "copied": True}, {"dataset": "second", "copied": False}]


def test_a_source_that_is_gone_keeps_no_other_from_being_tried(
    small: Workspace, pictures: Pictures, direct: type
) -> None:
    gone, there = pictures("a", 2), pictures("b", 2)
    ingest(small, [str(gone), str(there)], direct(fails), silent)
    for file in gone.iterdir():
        file.unlink()
    gone.rmdir()
    report = retry(small, direct(), silent)
    assert len(report.unreachable) == 1
    assert "a cannot be read" in report.unreachable[0]
    assert [step.step for step in report.steps] == ["ingest", "measure.scaled", "measure.native", "measure.ocr"]
    assert report.steps[0].counts["new"] == 1


def test_a_missing_source_is_found_before_anything_is_written(
    small: Workspace, pictures: Pictures, direct: type
) -> None:
    from flywheel.errors import SourceError

    before = small.tables.versions()
    with pytest.raises(SourceError, match="nowhere"):
        ingest(small, [str(pictures("big", 5)), "/nowhere"], direct(), silent)
    assert small.tables.versions() == before
