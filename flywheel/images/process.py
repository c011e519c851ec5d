"""The driver's hold on one sandbox child: start it, exchange messages with it, notice its death, kill it."""

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
from dataclasses import dataclass
from typing import Any

from flywheel.errors import FlywheelError
from flywheel.images.child import OUT_OF_MEMORY_STATUS
from flywheel.images.frames import Inbox, pack
from flywheel.records import Failure, Reason

_START_S = 120.0  # our choice: a cold disk and a heavy import
_EXIT_S = 5.0  # our choice: how long a child whose socket closed may take to be gone

# One process a core is the executor's plan, so numerics must not start threads of their own; an arena of
# malloc for each thread would only eat address space under the memory limit. A picture's planes are of a size that
# malloc maps from the kernel and hands back each time, zeroed page by page: kept instead, the scaled pass costs a
# tenth less and the native one a fifth, in no more memory. Larger blocks still go back at once.
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENCV_FOR_THREADS_NUM": "1",
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(64 << 20),
}


class SandboxFailed(FlywheelError):
    """The child cannot even start: the task is not importable, or the memory limit is below its imports."""


@dataclass(frozen=True, slots=True)
class Death:
    """Why the child is gone, as it would be said of the item it had in hand."""

    failure: Failure


class ChildProcess:
    """One process and the socket to it; bytes move whenever the socket allows, without threads.

    Raises SandboxFailed where the child does not come up.
    """

    def __init__(self, task: str, memory_bytes: int | None, context: object) -> None:
        self._socket, theirs = socket.socketpair()
        with theirs:
            self._process = _start(theirs)
        self._socket.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._socket, selectors.EVENT_READ)
        self._inbox = Inbox()
        self._outbox: deque[memoryview] = deque()  # what is left of each message not wholly written
        self._unanswered = 0
        self._progress_at = 0.0
        self.served = 0
        self.post((task, memory_bytes, pickle.dumps(context, protocol=pickle.HIGHEST_PROTOCOL)))
        ready = self.next_answer(_START_S)
        if isinstance(ready, Death) or ready[0] is not None:
            self.kill()
            why = ready.failure.detail if isinstance(ready, Death) else ready[0]
            raise SandboxFailed(f"the process for {task} could not start: {why}")
        self.served = 0

    def post(self, message: object) -> None:
        """Queue one message; it is written while `next_answer` waits."""
        if self._unanswered == 0:
            self._progress_at = time.monotonic()
        self._outbox.append(memoryview(pack(message)))
        self._unanswered += 1
        self._write()

    def next_answer(self, limit_s: float) -> tuple[Any] | Death:
        """The answer to the oldest unanswered message, in a 1-tuple, or the death of the child.

        The clock of a message starts when the one before it is answered; it starts anew with each part of the
        message or its answer that passes, so that a driver which was busy elsewhere blames nobody.
        """
        while True:
            answer = self._inbox.take()
            if answer is not None:
                self._unanswered -= 1
                self.served += 1
                self._progress_at = time.monotonic()
                return answer
            left_s = self._progress_at + limit_s - time.monotonic()
            wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._outbox else 0)
            self._selector.modify(self._socket, wanted)
            ready = self._selector.select(max(0.0, left_s))
            if not ready:
                self.kill()
                said = f"no answer within {limit_s:g} s"
                return Death(Failure(reason=Reason.DECODER_TIMED_OUT, detail=said))
            events = ready[0][1]
            if events & selectors.EVENT_WRITE:
                self._write()
            if events & selectors.EVENT_READ and not self._read():
                return Death(Failure(reason=Reason.DECODER_DIED, detail=self._last_words()))

    def idle(self) -> bool:
        """Alive, and owing no answer to anybody."""
        return self._unanswered == 0 and self._process.poll() is None

    def kill(self) -> None:
        """End the process (it holds no state worth a farewell) and free what it held here."""
        self._selector.close()
        self._socket.close()
        self._process.kill()
        self._process.wait()

    def _write(self) -> None:
        while self._outbox:
            head_waits = len(self._outbox) == self._unanswered
            try:
                sent = self._socket.send(self._outbox[0])
            except BlockingIOError:
                return
            except (BrokenPipeError, ConnectionResetError):
                self._outbox.clear()  # the child is gone, but answers it gave before may still lie here
                return
            if head_waits:
                self._progress_at = time.monotonic()
            if sent == len(self._outbox[0]):
                self._outbox.popleft()
            else:
                self._outbox[0] = self._outbox[0][sent:]

    def _read(self) -> bool:
        try:
            alive = self._inbox.fill(self._socket)
        except ConnectionResetError:
            return False
        self._progress_at = time.monotonic()
        return alive

    def _last_words(self) -> str:
        try:
            status = self._process.wait(_EXIT_S)
        except subprocess.TimeoutExpired:
            return "the decode process closed its socket"
        if status == OUT_OF_MEMORY_STATUS:
            return "the decode process ran out of memory"
        if status < 0:
            return f"the decode process was killed by {signal.Signals(-status).name}"
        return f"the decode process ended with status {status}"


def _start(end: socket.socket) -> subprocess.Popen[bytes]:
    """A fresh interpreter that holds `end`: no fork of this process's threads, no import of its __main__."""
    environment = os.environ | ENVIRONMENT
    # What can be imported here can be imported there; "" is the current folder, which -P keeps from being first.
    environment["PYTHONPATH"] = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
    command = [sys.executable, "-P", "-m", "flywheel.images.child", str(end.fileno()), str(os.getpid())]
    return subprocess.Popen(command, pass_fds=(end.fileno(),), env=environment)
