"""Where a run's numbers and pictures go: a journal and TensorBoard always, W&B and MLflow where they are installed and told where.

log.jsonl      a line a step
tensorboard/   `tensorboard --logdir RUN`
W&B            with WANDB_PROJECT set (and WANDB_MODE=offline to keep it here)
MLflow         with MLFLOW_TRACKING_URI set
"""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from flywheel.errors import FlywheelError

JOURNAL = "log.jsonl"
_MLFLOW_RUN = "mlflow_run"  # the file that names the run which a run that goes on goes on in


class Tracker(Protocol):
    def numbers(self, step: int, values: Mapping[str, float]) -> None: ...

    def picture(self, step: int, name: str, image: Image.Image) -> None: ...

    def close(self) -> None: ...


def trackers(run: Path, name: str, settings: Mapping[str, Any]) -> list[Tracker]:
    """Raises FlywheelError for one that was asked for and does not start."""
    found: list[Tracker] = [Journal(run), TensorBoard(run)]
    for asked, package, tracker in (("WANDB_PROJECT", "wandb", WandB), ("MLFLOW_TRACKING_URI", "mlflow", MLflow)):
        if not os.environ.get(asked) or not importlib.util.find_spec(package):
            continue
        try:
            found.append(tracker(run, name, settings))
        except Exception as error:  # of a service that is not ours, by any of its own classes
            why = " ".join(str(error).split())[:200]
            raise FlywheelError(f"{package} does not start: {why}; mend it, or unset {asked}") from error
    return found


def numbers(found: Sequence[Tracker], step: int, values: Mapping[str, float]) -> None:
    for tracker in found:
        tracker.numbers(step, values)


def picture(found: Sequence[Tracker], step: int, name: str, image: Image.Image) -> None:
    for tracker in found:
        tracker.picture(step, name, image)


class Journal:
    """A run that went on from an earlier step writes that step again: the last line of a step counts."""

    def __init__(self, run: Path) -> None:
        self._file = (run / JOURNAL).open("a", encoding="utf-8")

    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        self._file.write(json.dumps({"step": step, **values}) + "\n")
        self._file.flush()

    def picture(self, step: int, name: str, image: Image.Image) -> None:
        """Pictures lie in the run's folder already."""

    def close(self) -> None:
        self._file.close()


class TensorBoard:
    def __init__(self, run: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer: Any = SummaryWriter(str(run / "tensorboard"))

    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def picture(self, step: int, name: str, image: Image.Image) -> None:
        self._writer.add_image(name, np.asarray(image), step, dataformats="HWC")
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


class WandB:
    def __init__(self, run: Path, name: str, settings: Mapping[str, Any]) -> None:
        import wandb

        self._wandb: Any = wandb
        # The folder's name is the run's: a run that goes on goes on there, too.
        self._run: Any = wandb.init(dir=str(run), id=run.name, name=name, config=dict(settings), resume="allow")

    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log(dict(values), step=step)

    def picture(self, step: int, name: str, image: Image.Image) -> None:
        self._run.log({name: self._wandb.Image(image)}, step=step)

    def close(self) -> None:
        self._run.finish()


class MLflow:
    def __init__(self, run: Path, name: str, settings: Mapping[str, Any]) -> None:
        import mlflow

        self._mlflow: Any = mlflow
        known = run / _MLFLOW_RUN
        if known.is_file():
            mlflow.start_run(run_id=known.read_text(encoding="utf-8"))
            return
        started: Any = mlflow.start_run(run_name=name)
        known.write_text(started.info.run_id, encoding="utf-8")
        mlflow.log_params({key: str(value) for key, value in settings.items()})

    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        self._mlflow.log_metrics(dict(values), step=step)

    def picture(self, step: int, name: str, image: Image.Image) -> None:
        self._mlflow.log_image(image, key=name.replace("/", "_"), step=step)

    def close(self) -> None:
        self._mlflow.end_run()
