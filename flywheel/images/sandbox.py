"""A child process that may die: where every byte from outside is decoded.

The child is started with a fresh interpreter (never forked from a driver that has threads, never importing
the user's `__main__`), under a memory limit, and killed when one item takes too long. It answers items in
order, so the guilty one of a death is the first that was not answered.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from types import TracebackType
from typing import Generic, Self, TypeVar

from flywheel.images.process import ChildProcess, Death
from flywheel.records import Failure, Reason

T = TypeVar("T")
R = TypeVar("R")

WINDOW = 4  # our choice: items on their way to the child at once, so that it never waits for the driver
RECYCLE_AFTER = 20_000  # our choice: items after which a child is replaced, to bound what libraries leak


class Sandbox(Generic[T, R]):
    """Runs `task` ("package.module:function", called as function(item, context)) in a child process.

    `memory_bytes` limits the child's address space, `item_s` the seconds one item may take. The child starts
    with the first item, is used by every `run`, and ends with `close`. Not for use from two threads at once.
    """

    def __init__(self, task: str, *, memory_bytes: int | None, item_s: float, context: object = None) -> None:
        self._settings = (task, memory_bytes, context)
        self._item_s = item_s
        self._child: ChildProcess | None = None

    def run(self, items: Sequence[T]) -> Iterator[R | Failure]:
        """One answer an item, in order, as they come.

        A death is blamed on the first unanswered item, which is tried once more alone in a fresh child (state
        may have built up) before it is DECODER_DIED. One that ran too long is DECODER_TIMED_OUT at once. What
        the task raises is SCORER_FAILED. Raises SandboxFailed where no child can start.
        """
        done = 0
        while done < len(items):
            with closing(self._stretch(items[done : done + self._room()])) as stretch:
                for answer in stretch:
                    if isinstance(answer, Death):
                        yield self._second_look(items[done], answer.failure)
                    else:
                        yield answer
                    done += 1

    def close(self) -> None:
        """End the child. The sandbox may be used again; it then starts another."""
        if self._child is not None:
            self._drop(self._child)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _drop(self, child: ChildProcess) -> None:
        child.kill()
        if self._child is child:
            self._child = None

    def _room(self) -> int:
        """How many items the child may still take; one that died idle is replaced without blaming anybody."""
        if self._child is not None and (self._child.served >= RECYCLE_AFTER or not self._child.idle()):
            self.close()
        return RECYCLE_AFTER - (self._child.served if self._child is not None else 0)

    def _second_look(self, item: T, failure: Failure) -> R | Failure:
        if failure.reason is Reason.DECODER_TIMED_OUT:
            return failure
        (answer,) = self._stretch([item])
        return answer.failure if isinstance(answer, Death) else answer

    def _stretch(self, items: Sequence[T]) -> Generator[R | Death, None, None]:
        """Answers until the items are through or the child is dead; the death comes last."""
        if self._child is None:
            self._child = ChildProcess(*self._settings)
        child, sent, answered = self._child, 0, 0
        try:
            while answered < len(items):
                while sent < min(len(items), answered + WINDOW):
                    child.post(items[sent])
                    sent += 1
                answer = child.next_answer(self._item_s)
                answered += 1
                if isinstance(answer, Death):
                    sent = answered
                    self._drop(child)
                    yield answer
                    return
                yield answer[0]
        finally:
            if sent != answered:  # whoever asked has left; the answers still to come are nobody's
                self._drop(child)
