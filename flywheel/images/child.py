"""The other end of a sandbox: `python -m flywheel.images.child SOCKET_FD PARENT_PID`.

Imports next to nothing itself, so that a child costs what its task costs.
"""

from __future__ import annotations

import importlib
import os
import pickle
import signal
import socket
import sys
from collections.abc import Callable
from typing import Any

from flywheel.images.frames import pack, receive
from flywheel.records import Failure, Reason

OUT_OF_MEMORY_STATUS = 97  # our choice; tells the driver what it was
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_DETAIL_CHARS = 200


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the driver's to handle
    _die_with(int(sys.argv[2]))
    sock = socket.socket(fileno=int(sys.argv[1]))
    try:
        _serve(sock)
    except MemoryError:
        os._exit(OUT_OF_MEMORY_STATUS)
    except (BrokenPipeError, ConnectionResetError):
        os._exit(0)  # the driver is gone


def _serve(sock: socket.socket) -> None:
    settings = receive(sock)
    if settings is None:
        return
    task, memory_bytes, pickled_context = pickle.loads(settings)
    _limit(memory_bytes)
    try:
        function, context = _resolve(task), pickle.loads(pickled_context)
    except Exception as error:  # whatever an import may raise; the driver says it
        sock.sendall(pack(_one_line(error)))
        return
    if "cv2" in sys.modules:
        sys.modules["cv2"].setNumThreads(1)
    _silence()
    sock.sendall(pack(None))
    while (item := receive(sock)) is not None:
        answer = _answer(function, item, context)
        del item  # or it would lie beside the next one
        sock.sendall(answer)
        del answer


def _answer(function: Callable[[Any, Any], Any], item: bytearray, context: Any) -> bytes:
    try:
        return pack(function(pickle.loads(item), context))
    except MemoryError:
        raise
    except Exception as error:  # the sandbox edge: one odd row never ends a run
        return pack(Failure(reason=Reason.SCORER_FAILED, detail=_one_line(error)))


def _one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:_DETAIL_CHARS]


def _resolve(task: str) -> Callable[[Any, Any], Any]:
    module, _, name = task.partition(":")
    function: Callable[[Any, Any], Any] = getattr(importlib.import_module(module), name)
    return function


def _limit(memory_bytes: int | None) -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if memory_bytes is not None:
        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))


def _silence() -> None:
    """Hostile files make C libraries and Python chatter; what matters comes back as a Failure."""
    import warnings

    warnings.simplefilter("ignore")
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    os.close(nowhere)


def _die_with(parent_pid: int) -> None:
    """An idle child sees its socket close; one lost in a decoder needs the kernel to end it."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:
        os._exit(0)


if __name__ == "__main__":
    main()
