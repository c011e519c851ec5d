"""Two executors with identical semantics: micro-batches in, their answers out, in the same order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from flywheel.errors import UsageError
from flywheel.images.sandbox import Sandbox

ExecutorName = Literal["local", "ray"]
Batch = Sequence[Any]
Answers = Sequence[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What to do with one micro-batch, wherever a worker runs.

    `item` names the function "package.module:function" that a killable child runs on each item, as
    function(item, context); `context` is sent once and must be picklable. `around`, when given, is what the
    worker itself does with the items and its sandbox (fetching before it, packing after it); picklable, too.
    """

    item: str
    context: Any
    memory_bytes: int | None
    item_s: float
    around: Callable[[Batch, Sandbox[Any, Any]], Answers] | None = None

    def sandbox(self) -> Sandbox[Any, Any]:
        return Sandbox(self.item, memory_bytes=self.memory_bytes, item_s=self.item_s, context=self.context)

    def answer(self, sandbox: Sandbox[Any, Any], items: Batch) -> Answers:
        return list(sandbox.run(items)) if self.around is None else self.around(items, sandbox)


class Executor(Protocol):
    """`map` keeps at most `workers` micro-batches unanswered or unread, so a kill repeats at most one a worker."""

    workers: int

    def map(
        self, task: Task | None, batches: Iterable[Batch], on_wait: Callable[[], None]
    ) -> Iterator[tuple[Batch, Answers]]: ...


def executor(name: str, workers: int) -> Executor:
    """The executor of that name; nothing is started before its `map` gets a first micro-batch."""
    if name == "local":
        from pipelines.executors.local import LocalExecutor

        return LocalExecutor(workers)
    if name == "ray":
        from pipelines.executors.ray_data import RayExecutor

        return RayExecutor(workers)
    raise UsageError(f"no executor {name!r}; there are local and ray")
