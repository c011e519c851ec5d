"""An executor that does what a worker does with a micro-batch, and what its child does, in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib import import_module
from typing import Any

from pipelines.executors import Answers, Batch, Task


class InProcess:
    """Does what a worker does with a micro-batch, and what its child does, in this process."""

    workers = 1

    def map(
        self, task: Task | None, batches: Iterable[Batch], on_wait: Callable[[], None]
    ) -> Iterator[tuple[Batch, Answers]]:
        assert task is not None
        module, _, name = task.item.partition(":")
        function, context = getattr(import_module(module), name), task.context

        class Child:
            def run(self, items: Sequence[Any]) -> list[Any]:
                return [function(item, context) for item in items]

        for batch in batches:
            yield batch, task.around(batch, Child()) if task.around else Child().run(batch)  # type: ignore[arg-type]
