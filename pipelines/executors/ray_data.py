"""The Ray executor: a pool of Ray Data actors, each with its killable child, answering in plan order.

Ray Data runs ahead of whoever reads it as far as memory allows, which would turn a killed driver into many
repeated micro-batches. So the rows of the dataset are only numbered tickets; an actor trades its ticket at
the `_Desk` for the micro-batch of that number, which the driver puts there once there is room for it. At most
`workers` micro-batches are handed out and not yet read: the same bound, the same order and the same lazy
reading of the plan as with the local executor, and bytes that travel with items never pile up.

On a cluster (RAY_ADDRESS) the project must be installed on every node, as its packages are imported there.
"""

from __future__ import annotations

import asyncio
import logging
import os
import pickle
import queue
import socket
import sys
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pyarrow as pa

from flywheel.errors import FlywheelError, UsageError
from pipelines.executors import Answers, Batch, Task

_WAIT_S = 1.0
_TICKETS = 512  # our choice: micro-batches a dataset; the pool starts anew after so many
_OBJECT_STORE_BYTES = 512 << 20  # our choice: a few micro-batches that carry bytes (32 MB each, more for one image) fit
_RETRIES = 4  # our choice: how often a micro-batch may lose its worker before the run gives up
_QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_BACKEND_LOG_LEVEL": "fatal"}
# The second is Ray's only switch for loopback addresses, whatever its name says; read when ray is imported.
_ALONE = {"RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
_OVER = b""  # the answer of a ticket that no micro-batch came for


class RayWorkFailed(FlywheelError):
    """A micro-batch could not be worked on Ray: what it raised there, or what Ray says became of it."""


class RayExecutor:
    """Nothing starts before the first micro-batch; a cluster started here ends with the process."""

    def __init__(self, workers: int) -> None:
        self.workers = workers

    def map(
        self, task: Task | None, batches: Iterable[Batch], on_wait: Callable[[], None]
    ) -> Iterator[tuple[Batch, Answers]]:
        assert task is not None, "a step without a task runs inline"
        pending: deque[Batch] = deque()
        pool: _Pool | None = None
        try:
            for batch in batches:
                if pool is None:
                    connect(self.workers)
                    pool = _Pool(task, self.workers)
                if len(pending) == self.workers:
                    yield pending.popleft(), pool.next_answers(on_wait)
                pool.offer(batch)
                pending.append(batch)
            while pool is not None and pending:
                yield pending.popleft(), pool.next_answers(on_wait)
        finally:
            if pool is not None:
                pool.close()


def connect(workers: int) -> None:
    """Join the cluster of RAY_ADDRESS, or start a quiet one on loopback; one of each process.

    Ray's own exit handler ends what was started and leaves what was joined. Raises UsageError where
    there is no cluster at RAY_ADDRESS.
    """
    address = os.environ.get("RAY_ADDRESS")
    is_local = address in (None, "", "local")
    for name, value in (_QUIET | _ALONE if is_local else _QUIET).items():
        os.environ.setdefault(name, value)
    import ray
    import ray.data

    if ray.is_initialized():
        return
    settings: dict[str, Any] = {"address": address}
    if is_local:
        settings = {"address": "local", "num_cpus": max(workers, os.cpu_count() or 1), "include_dashboard": False}
        settings |= {"object_store_memory": _OBJECT_STORE_BYTES}
    try:
        if address and not is_local:
            _require_listener(address)
        ray.init(log_to_driver=False, logging_level=logging.ERROR, **settings)
    except (ConnectionError, ValueError, RuntimeError, OSError) as error:
        where = "start Ray here" if is_local else f"reach the Ray cluster at RAY_ADDRESS={address}"
        raise UsageError(f"cannot {where}: {_first_line(error)}") from error
    for handler in logging.getLogger("ray.data").handlers:
        if isinstance(handler, logging.StreamHandler):  # its log file keeps everything
            handler.setLevel(logging.CRITICAL)


def _require_listener(address: str) -> None:
    """Ray itself knocks at a dead address for six minutes. Raises OSError where nobody listens."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if port.isdigit():  # not "auto", which Ray looks up in files
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()


class _Desk:
    """Where actors trade ticket numbers for micro-batches. Lives in an actor of its own, without a CPU."""

    def __init__(self) -> None:
        self._places: dict[int, asyncio.Future[Any]] = {}
        self._closed = False

    async def offer(self, number: int, boxed: list[Any]) -> None:
        self._place(number).set_result(boxed)

    async def take(self, number: int) -> list[Any]:
        """The micro-batch in a list (so that it stays a reference), again for a retry; empty after the end."""
        taken: list[Any] = await self._place(number)
        return taken

    async def clear(self, number: int) -> None:
        self._places.pop(number, None)

    async def end(self) -> None:
        self._closed = True
        for place in self._places.values():
            if not place.done():
                place.set_result([])

    def _place(self, number: int) -> asyncio.Future[Any]:
        if number not in self._places:
            self._places[number] = asyncio.get_running_loop().create_future()
            if self._closed:
                self._places[number].set_result([])
        return self._places[number]


class _Worker:
    """One actor: one sandbox, one micro-batch at a time."""

    def __init__(self, task: bytes, desk: Any, importable: tuple[str, ...]) -> None:
        sys.path += [entry for entry in importable if entry not in sys.path]
        self._task: Task = pickle.loads(task)
        self._sandbox = self._task.sandbox()
        self._desk = desk

    def __call__(self, tickets: pa.Table) -> pa.Table:
        import ray

        (number,) = tickets["number"].to_pylist()
        boxed = ray.get(self._desk.take.remote(number))
        answers = _OVER
        if boxed:
            answers = pickle.dumps(self._answer(lambda: ray.get(boxed[0])), protocol=pickle.HIGHEST_PROTOCOL)
        return pa.table({"number": pa.array([number], pa.int64()), "answers": pa.array([answers], pa.large_binary())})

    def _answer(self, batch: Callable[[], bytes]) -> Answers | FlywheelError:
        try:
            # Fetched here, so that no pickle lies beside the items while they are worked.
            return self._task.answer(self._sandbox, pickle.loads(batch()))
        except FlywheelError as error:
            return error
        except Exception as error:  # the edge of this process: raised here, Ray would print its own frames
            return RayWorkFailed(_told(error))


class _Pool:
    """The actors over one dataset of tickets after another, read by a thread so that the driver can look up."""

    def __init__(self, task: Task, workers: int) -> None:
        import ray

        self._workers = workers
        self._task = pickle.dumps(task, protocol=pickle.HIGHEST_PROTOCOL)
        self._desk = ray.remote(num_cpus=0)(_Desk).remote()
        self._offered = self._read = 0
        self._answers: queue.SimpleQueue[tuple[int, bytes] | Exception] = queue.SimpleQueue()
        self._closed = threading.Event()
        self._reader = threading.Thread(target=self._read_all, name="flywheel-ray", daemon=True)
        self._reader.start()

    def offer(self, batch: Batch) -> None:
        import ray

        data = ray.put(pickle.dumps(batch, protocol=pickle.HIGHEST_PROTOCOL))
        self._desk.offer.remote(self._offered, [data])
        self._offered += 1

    def next_answers(self, on_wait: Callable[[], None]) -> Answers:
        """The answers to the oldest micro-batch that was offered and not yet read.

        Raises the FlywheelError that a worker raised, RayWorkFailed for anything else.
        """
        while True:
            try:
                read = self._answers.get(timeout=_WAIT_S)
                break
            except queue.Empty:
                on_wait()
        if isinstance(read, Exception):
            raise RayWorkFailed(_told(read)) from read
        number, data = read
        if number != self._read:
            raise RayWorkFailed(f"Ray answered micro-batch {number} where {self._read} was due")
        self._desk.clear.remote(number)
        self._read += 1
        answers: Answers | FlywheelError = pickle.loads(data)
        if isinstance(answers, FlywheelError):
            raise answers
        return answers

    def close(self) -> None:
        """Send the actors home. Does not wait for one that is still at work."""
        self._closed.set()
        self._desk.end.remote()
        if self._read == self._offered:
            self._reader.join()

    def _read_all(self) -> None:
        import ray
        import ray.exceptions
        from ray.data.exceptions import SystemException

        first = 0
        try:
            while not self._closed.is_set():
                for row in self._rows(first):
                    if self._closed.is_set():
                        break
                    self._answers.put(row)
                first += _TICKETS
        except (ray.exceptions.RayError, SystemException, RuntimeError, OSError) as error:
            self._answers.put(error)
        finally:
            ray.kill(self._desk)

    def _rows(self, first: int) -> Iterator[tuple[int, bytes]]:
        for table in _dataset(first, self._task, self._desk, self._workers).iter_batches(
            batch_size=None, batch_format="pyarrow", prefetch_batches=0
        ):
            yield from zip(table["number"].to_pylist(), table["answers"].to_pylist(), strict=True)


def _dataset(first: int, task: bytes, desk: Any, workers: int) -> Any:
    import ray.data

    tickets = [pa.table({"number": pa.array([number], pa.int64())}) for number in range(first, first + _TICKETS)]
    importable = tuple(entry or os.getcwd() for entry in sys.path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # max_task_retries has no other way in yet
        dataset = ray.data.from_arrow(tickets).map_batches(
            _Worker,
            fn_constructor_args=(task, desk, importable),
            batch_size=1,
            batch_format="pyarrow",
            compute=ray.data.ActorPoolStrategy(size=workers, max_tasks_in_flight_per_actor=1),
            num_cpus=1,
            max_task_retries=_RETRIES,
        )
    dataset.context.execution_options.preserve_order = True
    dataset.context.enable_progress_bars = False
    dataset.context.print_on_execution_start = False
    return dataset


def _told(error: Exception) -> str:
    return f"a Ray worker could not do its micro-batch: {type(error).__name__}: {_first_line(error)}"


def _first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), "no more is known")
