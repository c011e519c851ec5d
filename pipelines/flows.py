"""Prefect flows: the same steps as the command line's, each a task with retries, artifacts and a schedule.

Deployments name this module (`pipelines.flows.curate`), never this file: run by its path, `pipelines/` would
come first on sys.path and its modules would hide packages of the same name. For the same reason no class is
defined here.

What a retry repeats is honest: inside a step, `RetryingExecutor` works a failed micro-batch again while the
others stay read; a task's own retry plans the step anew, which leaves out every micro-batch committed before.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from prefect import flow, get_run_logger, tags, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
from prefect.deployments.runner import RunnerDeployment
from prefect.runtime import flow_run
from prefect.tasks import exponential_backoff
from prefect.types.entrypoint import EntrypointType

from flywheel.errors import FlywheelError, SourceError
from pipelines.curate import CurateReport, conclude, steps
from pipelines.engine import Progress, StepReport
from pipelines.executors import ExecutorName, executor
from pipelines.executors.ray_data import RayWorkFailed
from pipelines.executors.retrying import RetryingExecutor
from pipelines.flow_artifacts import progress_of, publish, slug, told

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State, TaskRun
    from prefect.tasks import Task as PrefectTask

    from flywheel.workspace import Workspace

RETRIES = 3
_BACKOFF_S = 10.0  # our choice: 10, 20 and 40 s
# A source may be back in a minute, and so may workers; every other FlywheelError waits for a person.
_MAY_PASS = (SourceError, RayWorkFailed)


def worth_retrying(_: PrefectTask[..., Any], __: TaskRun, state: State[Any]) -> bool:
    """Whether a failed step is likely to go better by itself."""
    error = state.result(raise_on_failure=False)
    return isinstance(error, _MAY_PASS) or (isinstance(error, Exception) and not isinstance(error, FlywheelError))


@task(
    task_run_name="{name}",
    retries=RETRIES,
    retry_delay_seconds=exponential_backoff(_BACKOFF_S),
    retry_condition_fn=worth_retrying,
    cache_policy=NO_CACHE,
    persist_result=False,
)
def step(name: str, key: str, run: Callable[[Progress], StepReport]) -> StepReport:
    """One step of the engine, shown in the UI while it goes."""
    with progress_of(key) as progress:
        report = run(progress)
    get_run_logger().info("%s: %s", name, told(report.counts) if report.run_id else "nothing new")
    return report


def _run_name() -> str:
    return f"{slug(flow_run.parameters['workspace'])} {datetime.now(UTC):%Y-%m-%d %H:%M:%S}"


@flow(name="curate", flow_run_name=_run_name, persist_result=False)
def curate(
    workspace: str,
    sources: list[str],
    dataset: str | None = None,
    copy_all: bool = False,
    executor_name: ExecutorName = "local",
    workers: int = 0,
) -> CurateReport:
    """The main job on a schedule: ingest, measure, find duplicates, judge; only what is new is done.

    `workspace` and `sources` are absolute paths or object-store URIs; `workers` 0 means as configured.
    """
    from pipelines.judging import open_workspace

    opened = open_workspace(workspace)
    name = slug(workspace)
    count = workers or opened.config.run.workers or os.cpu_count() or 1
    run = RetryingExecutor(executor(executor_name, count), get_run_logger().warning)
    with tags(f"workspace:{name}"):
        reports = [
            step(title, f"progress-{title}-{name}", work)
            for title, work in steps(opened, sources, run, dataset=dataset, copy_all=copy_all)
        ]
        report = _judge(opened, reports)
    publish(opened, name, reports, report.funnel)
    return report


def curate_deployment(
    workspace: str, sources: Sequence[str], *, cron: str | None = None, executor_name: ExecutorName = "local"
) -> RunnerDeployment:
    """The deployment of a workspace: one run at a time, others wait in line; the drivers' fence stands behind it."""
    name = slug(workspace)
    deployment = curate.to_deployment(
        name,
        cron=cron,
        parameters={"workspace": workspace, "sources": list(sources), "executor_name": executor_name},
        description=f"Curate {workspace}: {', '.join(sources) or 'name the sources when you run it'}",
        tags=["flywheel", f"workspace:{name}"],
        concurrency_limit=ConcurrencyLimitConfig(limit=1, collision_strategy=ConcurrencyLimitStrategy.ENQUEUE),
        entrypoint_type=EntrypointType.MODULE_PATH,
    )
    assert isinstance(deployment, RunnerDeployment)  # a coroutine only where an event loop runs
    return deployment


@task(
    name="filter",
    retries=RETRIES,
    retry_delay_seconds=exponential_backoff(_BACKOFF_S),
    retry_condition_fn=worth_retrying,
    cache_policy=NO_CACHE,
    persist_result=False,
)
def _judge(workspace: Workspace, reports: Sequence[StepReport]) -> CurateReport:
    return conclude(workspace, reports)
