"""Curves go where people look at them: into the real W&B (offline) and the real MLflow (a folder)."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from flywheel.errors import FlywheelError
from model.train.trackers import JOURNAL, numbers, picture, trackers

SETTINGS = {"steps": 2, "optimizer": {"lr": 1e-3}}


def tell(run: Path, *steps: int) -> None:
    found = trackers(run, "tiny", SETTINGS)
    for step in steps:
        numbers(found, step, {"loss": 1 / step})
    picture(found, steps[-1], "grid", Image.new("RGB", (16, 16), "red"))
    for tracker in found:
        tracker.close()


def test_a_journal_and_tensorboard_always(tmp_path: Path) -> None:
    tell(tmp_path, 1, 2)
    lines = [json.loads(line) for line in (tmp_path / JOURNAL).read_text().splitlines()]
    assert lines == [{"step": 1, "loss": 1.0}, {"step": 2, "loss": 0.5}]
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [one.value for one in events.Scalars("loss")] == [1.0, 0.5]
    assert events.Tags()["images"] == ["grid"]


def test_wandb_where_a_project_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb", reason="an extra of the tests")
    for name, value in (("WANDB_PROJECT", "flywheel"), ("WANDB_MODE", "offline"), ("WANDB_SILENT", "true")):
        monkeypatch.setenv(name, value)
    run = tmp_path / "run-7"
    run.mkdir()
    tell(run, 1, 2)
    (folder,) = (run / "wandb").glob("offline-run-*-run-7")
    journal = folder / "run-run-7.wandb"
    for _ in range(300):  # a process of W&B's own writes it, and may be behind on a busy machine
        if b"flywheel" in journal.read_bytes():
            break
        time.sleep(0.1)
    assert b"flywheel" in journal.read_bytes()
    assert list((folder / "files" / "media" / "images").glob("grid_*.png"))


def test_mlflow_where_a_server_is_named_and_in_the_same_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = pytest.importorskip(
        "mlflow",
        reason="mlflow 3.17 wants an older importlib-metadata than prefect brings: install mlflow-skinny by hand",
    )
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlruns").as_uri())
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    mlflow.set_tracking_uri(None)  # as a new process finds it
    tell(tmp_path, 1, 2)
    tell(tmp_path, 3)
    (run,) = mlflow.MlflowClient().search_runs(["0"])
    history = mlflow.MlflowClient().get_metric_history(run.info.run_id, "loss")
    assert [(one.step, one.value) for one in history] == [(1, 1.0), (2, 0.5), (3, 1 / 3)]
    assert run.data.params["steps"] == "2"


def test_a_server_that_is_not_there_is_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip(
        "mlflow",
        reason="mlflow 3.17 wants an older importlib-metadata than prefect brings: install mlflow-skinny by hand",
    )
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "nowhere://at-all")
    mlflow.set_tracking_uri(None)
    with pytest.raises(FlywheelError, match=r"mlflow does not start: .*unset MLFLOW_TRACKING_URI"):
        trackers(tmp_path, "tiny", SETTINGS)
