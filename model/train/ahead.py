"""Batches before they are asked for."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from model.train.task import Batches


class Ahead:
    """Batches made in a thread, `depth` of them before they are asked for. `waited_s`: how long the trainer stood still.

    `following` tells which number and step come after one. Close it: it holds a thread.
    """

    def __init__(self, batches: Batches, following: Callable[[int, int], tuple[int, int]], depth: int = 4) -> None:
        self._batches, self._following, self._depth = batches, following, depth
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="batches")
        self._coming: dict[tuple[int, int], Future[Any]] = {}
        self.waited_s = 0.0

    def __call__(self, number: int, step: int) -> Any:
        wanted = [(number, step)]
        for _ in range(self._depth):
            wanted.append(self._following(*wanted[-1]))
        for key in [key for key in self._coming if key not in wanted]:
            self._coming.pop(key).cancel()
        for key in wanted:
            if key not in self._coming:
                self._coming[key] = self._pool.submit(self._batches, *key)
        started = time.perf_counter()
        material = self._coming.pop((number, step)).result()
        self.waited_s += time.perf_counter() - started
        return material

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)


def by_steps(accumulate: int, workers: int) -> Callable[[int, int], tuple[int, int]]:
    """What a worker asks for next: every `workers`-th batch, `accumulate` of all workers a step."""

    def following(number: int, step: int) -> tuple[int, int]:
        number += workers
        return number, number // accumulate

    return following
