"""Whether a concept was shown in training, and in true words, is asked of the snapshots that a checkpoint came of."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from flywheel.schemas import TABLES
from flywheel.triage.attribution import Experiment, Kind
from flywheel.workspace import Workspace
from model.miniature import grammar
from model.miniature.render import render
from model.miniature.scene import Scene
from model.miniature.wording import plain
from pipelines.checkpoints import checkpoints, shown_in_training
from pipelines.executors import executor
from pipelines.experiments import EXPERIMENTS
from pipelines.experiments.trial import Trial
from pipelines.ingest import ingest
from pipelines.judging import init_workspace
from tests.pipelines.test_attributing import quiet, trial_of

PICTURES = 72
SNAPSHOT = "s" * 16


def scenes(crosses: int, seed: int) -> list[Scene]:
    """Of one thing, so many of them crosses."""
    lot, found = np.random.default_rng(seed), list[Scene]()
    while len(found) < PICTURES:
        scene = grammar.sample(lot, "one")
        is_wanted = len(found) < crosses
        if (scene.things[0].shape == "cross") == is_wanted:
            found.append(scene)
    return found


def taken_in(workspace: Workspace, folder: Path, shown: list[Scene], said: list[Scene]) -> list[str]:
    """Pictures of scenes with the words for others; the ids of their images."""
    folder.mkdir()
    before = set(workspace.query("SELECT image_id FROM images")["image_id"].to_pylist())
    rows = []
    for at, (scene, told) in enumerate(zip(shown, said, strict=True)):
        render(scene, 96, at).image.save(folder / f"{at:03}.png")
        rows.append({"path": f"{at:03}.png", "caption": plain(told)})
    (folder / "list.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    ingest(workspace, [str(folder / "list.jsonl")], executor("local", 2), quiet)
    now = set(workspace.query("SELECT image_id FROM images")["image_id"].to_pylist())
    assert len(now - before) == PICTURES
    return sorted(now - before)


def trained_on(workspace: Workspace, images: list[str], trial: Trial) -> None:
    """As if the trial's checkpoint had come of a snapshot of these images."""
    rows = [{"snapshot_id": SNAPSHOT, "image_id": image, "stage": 1} for image in images]
    workspace.tables.append("snapshots", pa.Table.from_pylist(rows, schema=TABLES["snapshots"].schema), run_id="test")
    (one,) = [one for one in checkpoints(workspace) if one.checkpoint_id == trial.generator.checkpoint_id]
    told = [{"checkpoint_id": one.checkpoint_id, "snapshot_id": SNAPSHOT}]
    workspace.tables.update_rows("checkpoints", told, key="checkpoint_id", run_id="test")


@pytest.fixture
def trial(tmp_path: Path) -> Trial:
    """Of crosses, which the generator never draws."""
    return trial_of(init_workspace(str(tmp_path / "workspace")))


def asked(trial: Trial, kind: Kind) -> dict[str, float] | None:
    found = EXPERIMENTS[kind](trial, Experiment(kind=kind, prompts=12))
    return None if found.shares is None else {name: share.mean for name, share in found.shares.items()}


def test_what_nobody_knows_is_not_known(trial: Trial) -> None:
    assert shown_in_training(trial.workspace, trial.generator.checkpoint_id) is None
    assert asked(trial, Kind.COVERAGE) is None
    assert asked(trial, Kind.CAPTIONS) is None


def test_a_concept_that_training_hardly_showed_is_scarce_and_the_pool_has_more(trial: Trial, tmp_path: Path) -> None:
    rare, plenty = scenes(1, seed=1), scenes(PICTURES // 2, seed=2)
    images = taken_in(trial.workspace, tmp_path / "train", rare, rare)
    taken_in(trial.workspace, tmp_path / "pool", plenty, plenty)
    trained_on(trial.workspace, images, trial)
    shares = asked(trial, Kind.COVERAGE)
    assert shares is not None
    assert shares["shown"] < 0.25
    assert shares["pool"] == 1.0


def test_captions_that_say_what_is_not_there_are_found_out(trial: Trial, tmp_path: Path) -> None:
    """Two in three crosses of the captions are rings."""
    shown = scenes(PICTURES // 2, seed=3)
    false = [
        replace(scene, things=(replace(scene.things[0], shape="ring"),))
        if at % 3 and scene.things[0].shape == "cross"
        else scene
        for at, scene in enumerate(shown)
    ]
    images = taken_in(trial.workspace, tmp_path / "train", false, shown)
    trained_on(trial.workspace, images, trial)
    shares = asked(trial, Kind.CAPTIONS)
    assert shares is not None
    assert shares["agrees"] < 0.6 < 0.8 < shares["healthy"]
