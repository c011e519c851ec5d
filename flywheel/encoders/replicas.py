"""Servers of one model: requests go to the least busy, a dead one is left alone and comes back when it answers again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx

from flywheel.encoders.vlm import Waiting
from flywheel.errors import FlywheelError, ServerDown

_DEAD_AFTER = 3  # failed connections in a row
_PROBED_EVERY_S = 1.0
_PROBE_S = 5.0


@dataclass(slots=True)
class Replica:
    url: str
    in_flight: int = 0
    failures: int = 0
    is_down: bool = False
    probed_at: float = 0.0
    why: str = ""

    def failed(self, error: Exception) -> None:
        """A connection that failed: nobody's request is to blame."""
        self.failures += 1
        self.why = f"{type(error).__name__} {error}".strip()
        self.is_down = self.failures >= _DEAD_AFTER

    def answered(self) -> None:
        self.failures, self.is_down = 0, False


class Replicas:
    """Belongs to one event loop."""

    def __init__(self, client: httpx.AsyncClient, urls: Sequence[str], model: str, max_wait_s: float) -> None:
        self._client, self._model, self._max_wait_s = client, model, max_wait_s
        self._all = [Replica(url.rstrip("/")) for url in urls]
        self._waiting = asyncio.Lock()
        self._probes: set[asyncio.Task[None]] = set()
        self._checked = False

    @asynccontextmanager
    async def least_busy(self, on_wait: Waiting) -> AsyncIterator[Replica]:
        """The replica with the fewest requests. Raises ServerDown where all are away for too long."""
        self._look_after_the_dead()
        while not (up := [replica for replica in self._all if not replica.is_down]):
            await self._wait(on_wait)
        replica = min(up, key=lambda one: one.in_flight)
        replica.in_flight += 1
        try:
            yield replica
        finally:
            replica.in_flight -= 1

    async def check_served(self, on_wait: Waiting) -> None:
        """Once: the model is what these servers serve. Raises FlywheelError naming what they serve instead."""
        while not self._checked:
            for replica in self._all:
                if replica.is_down:
                    continue
                try:
                    found = await self._models(replica)
                except httpx.TransportError as error:
                    replica.failed(error)
                    replica.is_down = True
                    continue
                if self._model not in found:
                    raise FlywheelError(f"{replica.url} serves {', '.join(found) or 'nothing'}, not {self._model}")
                self._checked = True
            if not self._checked:
                await self._wait(on_wait)

    async def _wait(self, on_wait: Waiting) -> None:
        """Until one is back. Whoever comes second waits for the first."""
        async with self._waiting:
            began, named = time.monotonic(), ", ".join(replica.url for replica in self._all)
            while all(replica.is_down for replica in self._all):
                waited = time.monotonic() - began
                if waited > self._max_wait_s:
                    raise ServerDown(
                        f"nobody answered at {named} for {waited:.0f} s ({self._all[0].why}); "
                        "the same command goes on where this one stopped"
                    )
                on_wait(f"waiting for {named}, {waited:.0f} s so far ({self._all[0].why})")
                await asyncio.gather(*(self._probe(replica) for replica in self._all))
                if all(replica.is_down for replica in self._all):
                    await asyncio.sleep(_PROBED_EVERY_S)

    def _look_after_the_dead(self) -> None:
        for replica in self._all:
            if replica.is_down and time.monotonic() - replica.probed_at > _PROBED_EVERY_S:
                replica.probed_at = time.monotonic()
                probe = asyncio.ensure_future(self._probe(replica))
                self._probes.add(probe)
                probe.add_done_callback(self._probes.discard)

    async def _probe(self, replica: Replica) -> None:
        try:
            if await self._models(replica):
                replica.answered()
        except httpx.TransportError as error:
            replica.why = f"{type(error).__name__} {error}".strip()

    async def _models(self, replica: Replica) -> list[str]:
        """What it serves; nothing while it still starts."""
        response = await self._client.get(f"{replica.url}/models", timeout=_PROBE_S)
        if response.status_code >= 400:
            return []
        try:
            return [str(entry["id"]) for entry in response.json()["data"]]
        except (ValueError, KeyError, TypeError):
            return []
