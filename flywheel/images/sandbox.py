"""A child process that may die: where every byte from outside is decoded.

The child is started with a fresh interpreter (never forked from a driver that has threads, never importing
the user's `__main__`), under a memory limit, and killed when one item takes too long. It answers items in
order, so the guilty one of a death is the first that was not answered.
"""

from __future__ import annotations

import os
import pickle
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from flywheel.errors import FlywheelError
from flywheel.images.child import OUT_OF_MEMORY_STATUS
from flywheel.images.frames import Inbox, pack
from flywheel.records import Failure, Reason

T = TypeVar("T")
R = TypeVar("R")

WINDOW = 4  # our choice: items on their way to the child at once, so that it never waits for the driver
RECYCLE_AFTER = 20_000  # our choice: items after which a child is replaced, to bound what libraries leak
_START_S = 120.0  # our choice: a cold disk and a heavy import
_EXIT_S = 5.0  # how long a child whose socket closed may take to be gone

# One process a core is the executor's plan; numerics must not start threads of their own. A malloc arena a
# thread would only eat address space under the memory limit.
_CHILD_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENCV_FOR_THREADS_NUM": "1",
    "MALLOC_ARENA_MAX": "1",
}


class SandboxFailed(FlywheelError):
    """The child cannot even start: the task is not importable, or the memory limit is below its imports."""


@dataclass(frozen=True, slots=True)
class _Death:
    failure: Failure


class Sandbox(Generic[T, R]):
    """Runs `task` ("package.module:function", called as function(item, context)) in a child process.

    `memory_bytes` limits the child's address space, `item_s` the seconds one item may take. The child starts
    with the first item, is used by every `run`, and ends with `close`. Not for use from two threads at once.
    """

    def __init__(self, task: str, *, memory_bytes: int | None, item_s: float, context: object = None) -> None:
        self._settings = (task, memory_bytes, pickle.dumps(context, protocol=pickle.HIGHEST_PROTOCOL))
        self._item_s = item_s
        self._child: _Child | None = None

    def run(self, items: Sequence[T]) -> Iterator[R | Failure]:
        """One answer an item, in order, as they come.

        A death is blamed on the first unanswered item, which is tried once more alone in a fresh child (state
        may have built up) before it is DECODER_DIED. One that ran too long is DECODER_TIMED_OUT at once. What
        the task raises is SCORER_FAILED. Raises SandboxFailed where no child can start.
        """
        done = 0
        while done < len(items):
            for answer in self._stretch(items[done : done + self._room()]):
                if isinstance(answer, _Death):
                    yield self._second_look(items[done], answer.failure)
                else:
                    yield answer
                done += 1

    def close(self) -> None:
        """End the child. The sandbox may be used again; it then starts another."""
        if self._child is not None:
            self._child.kill()
            self._child = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _room(self) -> int:
        if self._child is not None and (self._child.served >= RECYCLE_AFTER or not self._child.alive()):
            self.close()
        return RECYCLE_AFTER - (self._child.served if self._child is not None else 0)

    def _second_look(self, item: T, failure: Failure) -> R | Failure:
        if failure.reason is Reason.DECODER_TIMED_OUT:
            return failure
        (answer,) = self._stretch([item])
        return answer.failure if isinstance(answer, _Death) else answer

    def _stretch(self, items: Sequence[T]) -> Iterator[R | _Death]:
        """Answers until the items are through or the child is dead; the death comes last."""
        if self._child is None:
            self._child = _Child(self._settings)
        child, sent, answered = self._child, 0, 0
        try:
            while answered < len(items):
                while sent < min(len(items), answered + WINDOW):
                    child.post(pack(items[sent]))
                    sent += 1
                answer = child.next_answer(self._item_s)
                answered += 1
                if isinstance(answer, _Death):
                    sent = answered
                    self.close()
                    yield answer
                    return
                yield answer[0]
        finally:
            if sent != answered:  # whoever asked has left; the answers still to come are nobody's
                self.close()


class _Child:
    """One process and the socket to it. Messages are written and read as the socket allows, without threads."""

    def __init__(self, settings: tuple[str, int | None, bytes]) -> None:
        ours, theirs = socket.socketpair()
        environment = os.environ | _CHILD_ENVIRONMENT
        # What the driver can import, the child can; "" is the current folder. -P keeps that folder from coming first.
        environment["PYTHONPATH"] = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
        command = [sys.executable, "-P", "-m", "flywheel.images.child", str(theirs.fileno()), str(os.getpid())]
        with theirs:
            self._process = subprocess.Popen(command, pass_fds=(theirs.fileno(),), env=environment)
        ours.setblocking(False)
        self._socket, self._inbox = ours, Inbox()
        self._outbox: deque[memoryview] = deque()
        self._heads_unsent = 0  # messages, oldest first, not yet wholly written
        self._selector = selectors.DefaultSelector()
        self._selector.register(ours, selectors.EVENT_READ)
        self.served = 0
        self._unanswered = 0
        self._progress_at = time.monotonic()
        self.post(pack(settings))
        self._greet()

    def _greet(self) -> None:
        ready = self.next_answer(_START_S)
        self.served = 0
        if isinstance(ready, _Death) or ready[0] is not None:
            self.kill()
            why = ready.failure.detail if isinstance(ready, _Death) else ready[0]
            raise SandboxFailed(f"the decode process could not start: {why}")
