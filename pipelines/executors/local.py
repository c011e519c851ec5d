"""The local executor: one thread and one killable child a worker, in this process' keeping."""

from __future__ import annotations

import queue
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Any

from flywheel.images.sandbox import Sandbox
from pipelines.executors import Answers, Batch, Task

_WAIT_S = 1.0


class LocalExecutor:
    """Threads only wait on pipes: the work is in the children."""

    def __init__(self, workers: int) -> None:
        self.workers = workers

    def map(
        self, task: Task | None, batches: Iterable[Batch], on_wait: Callable[[], None]
    ) -> Iterator[tuple[Batch, Answers]]:
        assert task is not None, "a step without a task runs inline"
        idle: queue.SimpleQueue[Sandbox[Any, Any]] = queue.SimpleQueue()
        sandboxes = [task.sandbox() for _ in range(self.workers)]
        for sandbox in sandboxes:
            idle.put(sandbox)

        def work(batch: Batch) -> Answers:
            sandbox = idle.get()
            try:
                return task.answer(sandbox, batch)
            finally:
                idle.put(sandbox)

        pending: deque[tuple[Batch, Future[Answers]]] = deque()
        with ThreadPoolExecutor(self.workers, thread_name_prefix="flywheel-worker") as pool:
            try:
                for batch in batches:
                    if len(pending) == self.workers:
                        yield _first(pending, on_wait)
                    pending.append((batch, pool.submit(work, batch)))
                while pending:
                    yield _first(pending, on_wait)
            finally:
                for sandbox in sandboxes:
                    sandbox.close()


def _first(pending: deque[tuple[Batch, Future[Answers]]], on_wait: Callable[[], None]) -> tuple[Batch, Answers]:
    batch, future = pending.popleft()
    while True:
        try:
            return batch, future.result(timeout=_WAIT_S)
        except FutureTimeout:
            on_wait()
