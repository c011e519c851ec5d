"""One bad micro-batch is worked again; what the driver has read is never worked twice."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from flywheel.errors import SourceError
from pipelines.executors import Task
from pipelines.executors.local import LocalExecutor
from pipelines.executors.retrying import RetryingExecutor


def task_of(around: str, **given: str) -> Task:
    import executor_tasks

    worked = partial(getattr(executor_tasks, around), **given)
    return Task(item="executor_tasks:act", around=worked, context=None, memory_bytes=None, item_s=9)


def nothing() -> None:
    pass


def retrying(warn: Callable[[str], None], failures: int = 2) -> RetryingExecutor:
    return RetryingExecutor(LocalExecutor(2), warn, delays_s=(0.0,) * failures)


def test_a_micro_batch_that_failed_by_circumstance_is_worked_again(tmp_path: Path) -> None:
    said: list[str] = []
    batches = [[number] for number in range(5)]
    answered = list(retrying(said.append).map(task_of("fails_twice", folder=str(tmp_path)), batches, nothing))
    assert [batch for batch, _ in answered] == batches
    assert [answers[0][0] for _, answers in answered] == [0, 1, 2, 3, 4]
    assert len(said) == 2
    assert all(line.startswith("disk hiccup; ") for line in said)


def test_it_gives_up_with_the_error_itself(tmp_path: Path) -> None:
    task = task_of("fails_twice", folder=str(tmp_path))
    with pytest.raises(OSError, match="disk hiccup"):
        list(retrying(str, failures=1).map(task, [[0], [1]], nothing))


def test_what_a_person_must_mend_is_not_retried() -> None:
    said: list[str] = []
    with pytest.raises(SourceError):
        list(retrying(said.append).map(task_of("refuses"), [[0]], nothing))
    assert said == []


def test_an_error_of_the_plan_is_not_taken_for_its_end(tmp_path: Path) -> None:
    def plan() -> Iterator[list[int]]:
        yield [7]
        raise OSError("the listing broke off")

    answered: list[object] = []
    with pytest.raises(OSError, match="the listing broke off"):
        answered.extend(retrying(str).map(task_of("fails_twice", folder=str(tmp_path)), plan(), nothing))
