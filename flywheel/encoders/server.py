"""Models behind OpenAI-style servers (vLLM, vLLM-Omni and others): many requests in flight, none lost.

Three kinds of trouble, three answers. The request is wrong (4xx): told at once, never repeated. The server stumbles (5xx) or
is too slow: repeated a few times, then told. Nobody is there (the connection fails): no request is blamed; the replica is
left alone and probed until it comes back, and while all are away everything waits, visibly, up to `max_wait_s`.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Coroutine, Mapping, Sequence
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass
from typing import Any

import httpx

from flywheel.encoders.replicas import Replicas
from flywheel.encoders.vlm import Refused, Waiting
from flywheel.errors import FlywheelError, UsageError

_SHOWN = 300  # signs of a server's message


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """`urls` up to and with /v1. `tries` of one request that a server fumbles. The key comes from the environment.

    Raises UsageError for what is no http URL.
    """

    urls: tuple[str, ...]
    model: str
    in_flight: int = 64
    timeout_s: float = 120.0
    max_wait_s: float = 3600.0
    tries: int = 4
    back_off_s: float = 0.5
    api_key_env: str = "FLYWHEEL_API_KEY"

    def __post_init__(self) -> None:
        wrong = [url for url in self.urls if not url.startswith(("http://", "https://"))]
        if wrong or not self.urls:
            raise UsageError(f"a server's URL begins with http:// or https://, not {wrong[0] if wrong else 'nothing'}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """`body` as JSON; with `files` (name and PNG each) as a form instead. `path` follows the server's URL."""

    path: str
    body: Mapping[str, Any]
    files: tuple[tuple[str, bytes], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What came back, as far as it is JSON, and after how long."""

    read: Any
    seconds: float


class Servers:
    """One client a process, for any number of threads: they share its connections and its limit."""

    def __init__(self, settings: ServerSettings) -> None:
        self._settings = settings
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="flywheel-servers", daemon=True).start()
        key = os.environ.get(settings.api_key_env)
        self._client = httpx.AsyncClient(
            headers={"Authorization": f"Bearer {key}"} if key else {},
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=settings.in_flight),
            timeout=httpx.Timeout(settings.timeout_s, connect=min(10.0, settings.timeout_s)),
            trust_env=False,  # what is named in the configuration is asked, and no proxy in between
        )
        self._free = asyncio.Semaphore(settings.in_flight)
        self._replicas = Replicas(self._client, settings.urls, settings.model, settings.max_wait_s)

    def posted(self, posts: Sequence[Post], on_wait: Waiting) -> list[Answered | Refused]:
        """In the order asked. Raises ServerDown where nobody answers for too long, FlywheelError for servers of another model."""
        answered: list[Answered | Refused] = self._run(self._all(posts, on_wait))
        return answered

    def close(self) -> None:
        """Hang up. The client cannot be used again."""
        self._run(self._client.aclose())
        self._loop.call_soon_threadsafe(self._loop.stop)

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        while True:
            try:
                return future.result(timeout=1.0)  # in steps, so that Ctrl-C is heard
            except FutureTimeout:
                if future.done():
                    raise
            except BaseException:
                future.cancel()
                raise

    async def _all(self, posts: Sequence[Post], on_wait: Waiting) -> list[Answered | Refused]:
        await self._replicas.check_served(on_wait)
        tasks = [asyncio.ensure_future(self._one(post, on_wait)) for post in posts]
        try:
            return list(await asyncio.gather(*tasks))
        finally:
            for task in tasks:
                task.cancel()

    async def _one(self, post: Post, on_wait: Waiting) -> Answered | Refused:
        said, fumbled = "", 0
        while fumbled < self._settings.tries:
            async with self._free, self._replicas.least_busy(on_wait) as replica:
                began = time.monotonic()
                try:
                    response = await self._client.post(f"{replica.url}/{post.path}", **_sent(post))
                except httpx.TimeoutException:
                    said, fumbled = f"no answer within {self._settings.timeout_s:g} s", fumbled + 1
                    continue
                except httpx.TransportError as error:
                    replica.failed(error)
                    continue
                replica.answered()
            if response.status_code < 400:
                return _answered(response, time.monotonic() - began)
            said = f"{response.status_code}: {_message(response)}"
            if response.status_code < 500 and response.status_code != 429:
                return Refused(said)
            fumbled += 1
            await asyncio.sleep(self._settings.back_off_s * 2**fumbled)
        return Refused(said, again=True)


def _sent(post: Post) -> dict[str, Any]:
    if not post.files:
        return {"json": dict(post.body)}
    fields = {name: str(value) for name, value in post.body.items()}
    return {
        "data": fields,
        "files": [(name, (f"{at}.png", png, "image/png")) for at, (name, png) in enumerate(post.files)],
    }


def _answered(response: httpx.Response, seconds: float) -> Answered | Refused:
    try:
        return Answered(read=response.json(), seconds=seconds)
    except ValueError:
        return Refused("the answer is no JSON", again=True)


def _message(response: httpx.Response) -> str:
    try:
        said = response.json()["error"]["message"]
    except (ValueError, KeyError, TypeError):
        said = response.text
    return " ".join(str(said).split())[:_SHOWN]


def served_models(url: str, timeout_s: float = 10.0) -> list[str]:
    """What a server says it serves. Raises FlywheelError, in one line, where it does not say."""
    try:
        response = httpx.get(f"{url.rstrip('/')}/models", timeout=timeout_s, trust_env=False)
        return [str(entry["id"]) for entry in response.json()["data"]]
    except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
        raise FlywheelError(f"{url} does not answer as a model server: {type(error).__name__}") from error
