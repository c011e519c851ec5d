"""Training on Ray Train: the run that `python` and `torchrun` do, on workers of a cluster."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from flywheel.errors import FlywheelError
from model.pretrained import write_json
from pipelines.executors.ray_data import connect

_REPORT = "report.json"
if TYPE_CHECKING:
    from model.train.jobs import Job
    from model.train.run import Watch


def on_ray(job: Job, workers: int) -> dict[str, Any]:
    """The job's report, from so many workers, each with a GPU where the cluster has any.

    The cluster is RAY_ADDRESS's, or one of this machine; all of its nodes have this program and see the run's folder. Raises
    FlywheelError, in one line, for what goes wrong there.
    """
    connect(workers)
    import ray
    from ray.train import RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    trainer = TorchTrainer(
        _work,
        train_loop_config={"job": job},
        scaling_config=ScalingConfig(num_workers=workers, use_gpu="GPU" in ray.cluster_resources()),
        run_config=RunConfig(name="ray", storage_path=str(job.run.resolve())),
    )
    try:
        trainer.fit()
        report: dict[str, Any] = json.loads((job.run / _REPORT).read_text(encoding="utf-8"))
    except Exception as error:  # whatever Ray makes of what a worker raised
        raise FlywheelError(f"training on Ray failed: {_cause(error)}") from error
    return report


def _work(config: Mapping[str, Any]) -> None:
    """On each worker. The report comes back through the run's folder: Ray keeps numbers of checkpoints alone."""
    job: Job = config["job"]
    report = job(_silent)
    if report is not None:
        write_json(job.run / _REPORT, report)


@contextmanager
def _silent(is_first: bool) -> Iterator[Watch]:
    """Numbers are in the run's folder."""
    yield lambda what, done, total, values: None


def _cause(error: BaseException) -> str:
    """What was raised first, without the way that it took."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(error).__name__
