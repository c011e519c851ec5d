"""A checkpoint is examined once on each prompt and seed, whatever happens on the way."""

from __future__ import annotations

import base64
import io
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from flywheel.errors import UsageError
from flywheel.records import Locator
from flywheel.seeds import content_id
from flywheel.workspace import Workspace
from flywheel.workspace.purge import rewrite_pack
from flywheel.workspace.storage import read_locator
from model.bundled import bundled_model
from pipelines import evaluating, generating, upkeep
from pipelines.checkpoints import (
    BUNDLED,
    checkpoint_named,
    checkpoint_served,
    checkpoint_trained,
    checkpoints,
    shown_in_training,
)
from pipelines.collecting import collect
from pipelines.evaluating import Evaluation, evaluate
from pipelines.executors import Answers, Batch, Task, executor
from pipelines.executors.local import LocalExecutor
from pipelines.generators import Generator, local_generator, served_generator
from pipelines.judges import CheckerJudge, judge_of
from pipelines.judging import init_workspace
from pipelines.suites import enrolled, items_of
from pipelines.upkeep import maintain
from tests.encoders.model_server import ModelServer, Reply

JUDGE, SUITE = CheckerJudge(name="A"), "miniature:L1,L4"


def quiet(step: str, done: int, total: int | None, counts: object) -> None: ...


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return init_workspace(str(tmp_path / "workspace"))


def rough(workspace: Workspace) -> Generator:
    """The bundled model in two steps: what it draws does not matter here."""
    return local_generator(checkpoint_named(workspace, BUNDLED), {"steps": 2, "guidance": 1.0})


def examined(workspace: Workspace, number: int = 3, seeds: int = 2, run: LocalExecutor | None = None) -> Evaluation:
    items = items_of(SUITE, number, "triage")
    return evaluate(workspace, rough(workspace), items, JUDGE, run or executor("local", 1), quiet, seeds=seeds)


def tables(workspace: Workspace) -> dict[str, list[dict[str, object]]]:
    """All that an evaluation leaves, but for where packs lie."""
    keys = {
        "generations": "generation_id",
        "evaluations": "generation_id, facet, repeat",
        "pictures": "image_id",
        "suite_items": "item_id",
    }
    columns = {"pictures": "image_id, width_px, height_px"}
    return {
        name: workspace.query(f"SELECT {columns.get(name, '*')} FROM {name} ORDER BY {key}").to_pylist()
        for name, key in keys.items()
    }


def test_nothing_is_drawn_or_judged_twice(workspace: Workspace) -> None:
    first = examined(workspace)
    assert [step.counts.get("in") for step in first.steps] == [12, 12]
    again = examined(workspace)
    assert [step.run_id for step in again.steps] == [None, None]
    assert again.figures == first.figures
    more = examined(workspace, seeds=3)
    assert [step.counts.get("in") for step in more.steps] == [6, 6]
    (checkpoint,) = checkpoints(workspace)
    assert checkpoint_named(workspace, checkpoint.checkpoint_id[:8]) == checkpoint


def test_checkpoints_of_one_name_are_told_apart_and_know_what_they_were_shown(
    workspace: Workspace, tmp_path: Path
) -> None:
    folders = []
    for run in ("first", "second"):
        folder = tmp_path / run / "model"
        shutil.copytree(bundled_model(), folder)
        (folder / "scheduler" / "scheduler_config.json").write_text(f'{{"run": "{run}"}}')
        folders.append(folder)
    first = checkpoint_named(workspace, str(folders[0]))
    shutil.move(folders[1], tmp_path / "elsewhere" / "first" / "model")
    second = checkpoint_trained(
        workspace, tmp_path / "elsewhere" / "first" / "model", parent=first.checkpoint_id, snapshots=["b"], recipe="{}"
    )
    assert (first.name, second.name) == ("first", "first-2")
    assert shown_in_training(workspace, second.checkpoint_id) is None  # of its parent nothing is known
    checkpoint_trained(workspace, folders[0], parent="", snapshots=["a"], recipe="{}")
    assert shown_in_training(workspace, second.checkpoint_id) == ["b", "a"]
    assert checkpoint_served(workspace, "first", "http://127.0.0.1:9/v1").name == "first"


def test_what_judges_find_bad_becomes_failures_and_modes(workspace: Workspace) -> None:
    """Two steps draw next to nothing right; what the gate asks stays out of it."""
    examined(workspace)
    items = items_of("miniature:L1", 3, "gate")
    evaluate(workspace, rough(workspace), items, CheckerJudge(name="B"), executor("local", 1), quiet)
    done = collect(workspace)
    failures = workspace.query("SELECT * FROM failures").to_pylist()
    assert done.failures == len(failures) > 0
    assert {(one["signal"], one["actor"], tuple(one["missing"])) for one in failures} == {
        ("evaluation", JUDGE.version, ())
    }
    asked = {item.prompt for item in items_of(SUITE, 3, "triage")}
    assert {one["prompt"] for one in failures} <= asked
    assert {one["state"] for one in workspace.query("SELECT state FROM mode_states").to_pylist()} == {"candidate"}
    assert collect(workspace).new_failures == 0


def test_pictures_are_kept_and_belong_to_no_pool(workspace: Workspace) -> None:
    examined(workspace)
    assert workspace.query("SELECT count(*) AS n FROM images")["n"].to_pylist() == [0]
    sizes = workspace.query("SELECT DISTINCT width_px, height_px FROM pictures").to_pylist()
    assert sizes == [{"width_px": 96, "height_px": 96}]
    figures = {(one.slice, one.facet): one for one in examined(workspace).figures}
    assert figures["level L4", "words"].prompts == 3
    assert ("level L1", "words") not in figures


def test_upkeep_and_forgetting_leave_the_pictures(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    examined(workspace, number=2)
    monkeypatch.setattr(upkeep, "GRACE_S", -1.0)
    assert maintain(workspace, dry_run=False)["packs"] == []
    rows = workspace.query('SELECT image_id, uri, member, "offset", length FROM pictures').to_pylist()
    gone, kept = rows[0], rows[1:]
    rewrite_pack(workspace, workspace.store.relpath_of(gone["uri"]), [gone["image_id"]], run_id="test")
    for row in kept:
        place = workspace.query(
            f"SELECT uri, member, \"offset\", length FROM pictures WHERE image_id = '{row['image_id']}'"
        ).to_pylist()[0]
        assert content_id(read_locator(Locator.of(place))) == row["image_id"]


class Dies(LocalExecutor):
    """Ends the run behind so many micro-batches, as a kill does: after payloads, before what follows."""

    def __init__(self, after: int) -> None:
        super().__init__(1)
        self._left = after

    def map(
        self, task: Task | None, batches: Iterable[Batch], on_wait: Callable[[], None]
    ) -> Iterator[tuple[Batch, Answers]]:
        for answered in super().map(task, batches, on_wait):
            if not self._left:
                raise KeyboardInterrupt
            self._left -= 1
            yield answered


@pytest.mark.parametrize("after", [0, 2, 5])
def test_a_killed_evaluation_goes_on_to_the_same_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    for step in (generating, evaluating):
        monkeypatch.setattr(step, "BATCH", 3)
    whole, torn = (init_workspace(str(tmp_path / name)) for name in ("whole", "torn"))
    examined(whole, number=2)
    with pytest.raises(KeyboardInterrupt):
        examined(torn, number=2, run=Dies(after))
    examined(torn, number=2)
    assert tables(torn) == tables(whole)


@pytest.mark.parametrize("suite", ["nothing", "geneval:", "miniature:L9", "own.jsonl"])
def test_what_is_no_suite_is_refused(suite: str) -> None:
    with pytest.raises(UsageError, match=r"no suite and no file|no level"):
        items_of(suite, None, "triage")


def test_a_role_that_trains_is_not_examined_on() -> None:
    with pytest.raises(UsageError, match="no role 'train' to examine on"):
        items_of("miniature", 1, "train")


def test_who_knows_the_rendered_world_alone_judges_nothing_else(workspace: Workspace) -> None:
    with pytest.raises(UsageError, match="knows the rendered one alone"):
        judge_of(workspace, "geneval", "triage")


def test_what_is_no_checkpoint_is_refused(workspace: Workspace) -> None:
    with pytest.raises(UsageError, match="no checkpoint 'nobody': give bundled, a folder"):
        checkpoint_named(workspace, "nobody")


def test_an_endpoint_draws_what_its_checkpoint_is_asked(workspace: Workspace) -> None:
    def draws(body: dict[str, Any], before: int) -> Reply:
        held = io.BytesIO()
        Image.new("RGB", (96, 96), (body["seed"] * 20, 0, 0)).save(held, "PNG")
        return 200, {"data": [{"b64_json": base64.b64encode(held.getvalue()).decode()}]}

    server = ModelServer(draws, model="theirs").start()
    try:
        served = checkpoint_served(workspace, "theirs", server.url)
        budgets = workspace.config.ingest.budgets
        generator = served_generator(served, budgets, width_px=96, height_px=96, steps=None, guidance=None)
        items = items_of("miniature:L1", 2, "triage")
        found = evaluate(workspace, generator, items, JUDGE, executor("local", 1), quiet, seeds=3)
    finally:
        server.stop()
    assert [step.counts.get("in") for step in found.steps] == [6, 6]
    assert workspace.query("SELECT count(*) AS n FROM pictures")["n"].to_pylist() == [3]  # equal pictures are one
    assert {one.facet for one in found.figures if one.slice == "all"} >= {"score", "objects"}


def test_what_an_endpoint_fumbles_is_asked_for_again(workspace: Workspace) -> None:
    held = io.BytesIO()
    Image.new("RGB", (96, 96)).save(held, "PNG")
    picture = 200, {"data": [{"b64_json": base64.b64encode(held.getvalue()).decode()}]}
    server = ModelServer(lambda body, before: (400, {"error": {"message": "not now"}}), model="theirs").start()
    try:
        served = checkpoint_served(workspace, "theirs", server.url)
        budgets = workspace.config.ingest.budgets
        generator = served_generator(served, budgets, width_px=96, height_px=96, steps=None, guidance=None)
        items = items_of("miniature:L1", 2, "triage")
        for _ in range(2):
            found = evaluate(workspace, generator, items, JUDGE, executor("local", 1), quiet)
            assert (found.steps[0].counts["rejected"], found.figures) == (2, ())
        server.script = lambda body, before: picture
        assert evaluate(workspace, generator, items, JUDGE, executor("local", 1), quiet).steps[0].counts["drawn"] == 2
    finally:
        server.stop()
    rows = workspace.query("SELECT attempt, status FROM outcomes WHERE step = 'generate' ORDER BY subject_id, attempt")
    assert rows["attempt"].to_pylist() == [1, 2, 3] * 2
    assert rows["status"].to_pylist() == ["rejected", "rejected", "ok"] * 2


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("", "no prompt is in it"),
        ('{"prompt": "x", "references": ["gone.png"]}', "cannot be read"),
        ('{"prompt": "x", "references": ["own.jsonl"]}', "no picture"),
    ],
)
def test_a_suite_that_cannot_be_drawn_is_refused(workspace: Workspace, tmp_path: Path, row: str, says: str) -> None:
    (tmp_path / "own.jsonl").write_text(row)
    with pytest.raises(UsageError, match=says):
        enrolled(workspace, items_of(str(tmp_path / "own.jsonl"), None, "triage"))


def test_a_reference_that_is_another_picture_now_is_kept_too(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "own.jsonl").write_text('{"prompt": "make it blue", "references": ["it.png"]}')
    seen = set()
    for colour in ("red", "green"):
        Image.new("RGB", (96, 96), colour).save(tmp_path / "it.png")
        (one,) = enrolled(workspace, items_of(str(tmp_path / "own.jsonl"), None, "triage"))
        seen.add((one.item.item_id, one.references[0].image_id))
    assert len({item_id for item_id, _ in seen}) == len({image_id for _, image_id in seen}) == 2
    kept = workspace.query("SELECT item_id, reference_ids[1] AS image_id FROM suite_items").to_pylist()
    assert {(row["item_id"], row["image_id"]) for row in kept} == seen
