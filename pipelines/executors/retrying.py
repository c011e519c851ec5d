"""Retries of single micro-batches: what failed by circumstance is worked again, what was read stays read."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence

from pipelines.executors import Answers, Batch, Executor, Task
from pipelines.executors.ray_data import RayWorkFailed

TRANSIENT = (OSError, RayWorkFailed)  # disks, networks, workers; a verdict on an item never comes as an error
DELAYS_S = (2.0, 10.0)  # our choice


class RetryingExecutor:
    """Another executor, started again after an infrastructure error with the micro-batches not yet read.

    Each micro-batch may fail as often as there are delays. Errors of the plan itself are not retried: it
    cannot be read twice; for those the whole step is, which leaves out what is complete.
    """

    def __init__(self, inner: Executor, warn: Callable[[str], None], delays_s: Sequence[float] = DELAYS_S) -> None:
        self._inner, self._warn, self._delays_s = inner, warn, delays_s
        self.workers = inner.workers

    def map(
        self, task: Task | None, batches: Iterable[Batch], on_wait: Callable[[], None]
    ) -> Iterator[tuple[Batch, Answers]]:
        plan = _Plan(batches)
        failures = 0
        while True:
            try:
                for batch, answers in self._inner.map(task, plan.unread_first(), on_wait):
                    plan.unread.popleft()
                    failures = 0
                    yield batch, answers
                return
            except TRANSIENT as error:
                if plan.broken or failures == len(self._delays_s):
                    raise
                delay_s = self._delays_s[failures]
                failures += 1
                self._warn(f"{error}; {len(plan.unread)} micro-batches are tried again in {delay_s:g} s")
                _wait(delay_s, on_wait)


class _Plan:
    """The micro-batches of a step, read once; those handed out and not yet answered can be had again."""

    def __init__(self, batches: Iterable[Batch]) -> None:
        self._source = iter(batches)
        self.unread: deque[Batch] = deque()
        self.broken = False

    def unread_first(self) -> Iterator[Batch]:
        yield from list(self.unread)
        while True:
            self.broken = True  # until the plan has given its next, an error is the plan's own
            batch = next(self._source, None)
            self.broken = False
            if batch is None:
                return
            self.unread.append(batch)
            yield batch


def _wait(seconds: float, on_wait: Callable[[], None]) -> None:
    until = time.monotonic() + seconds
    while (left_s := until - time.monotonic()) > 0:
        time.sleep(min(1.0, left_s))
        on_wait()
