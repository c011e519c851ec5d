"""A vision-language model behind OpenAI-style servers (vLLM and others): many requests in flight, none lost.

Three kinds of trouble, three answers. The request is wrong (4xx): told at once, never repeated. The server stumbles (5xx) or
is too slow: repeated a few times, then told. Nobody is there (the connection fails): no request is blamed; the replica is
left alone and probed until it comes back, and while all are away everything waits, visibly, up to `max_wait_s`.
"""

from __future__ import annotations

import asyncio
import base64
import os
import threading
import time
from collections.abc import Coroutine, Sequence
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass
from typing import Any

import httpx

from flywheel.encoders.replicas import Replicas
from flywheel.encoders.vlm import Ask, Refused, Told, Waiting
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
            raise UsageError(
                f"a captioner's URL begins with http:// or https://, not {wrong[0] if wrong else 'nothing'}"
            )


class ServerVlm:
    """One client a process, for any number of threads: they share its connections and its limit."""

    def __init__(self, settings: ServerSettings) -> None:
        self.name = settings.model
        self._settings = settings
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="flywheel-vlm", daemon=True).start()
        key = os.environ.get(settings.api_key_env)
        self._client = httpx.AsyncClient(
            headers={"Authorization": f"Bearer {key}"} if key else {},
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=settings.in_flight),
            timeout=httpx.Timeout(settings.timeout_s, connect=min(10.0, settings.timeout_s)),
            trust_env=False,  # what is named in the configuration is asked, and no proxy in between
        )
        self._free = asyncio.Semaphore(settings.in_flight)
        self._replicas = Replicas(self._client, settings.urls, settings.model, settings.max_wait_s)

    def answers(self, asks: Sequence[Ask], on_wait: Waiting) -> list[Told | Refused]:
        told: list[Told | Refused] = self._run(self._all(asks, on_wait))
        return told

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

    async def _all(self, asks: Sequence[Ask], on_wait: Waiting) -> list[Told | Refused]:
        await self._replicas.check_served(on_wait)
        tasks = [asyncio.ensure_future(self._one(ask, on_wait)) for ask in asks]
        try:
            return list(await asyncio.gather(*tasks))
        finally:
            for task in tasks:
                task.cancel()

    async def _one(self, ask: Ask, on_wait: Waiting) -> Told | Refused:
        body, said, fumbled = _body(self._settings.model, ask), "", 0
        while fumbled < self._settings.tries:
            async with self._free, self._replicas.least_busy(on_wait) as replica:
                began = time.monotonic()
                try:
                    response = await self._client.post(f"{replica.url}/chat/completions", json=body)
                except httpx.TimeoutException:
                    said, fumbled = f"no answer within {self._settings.timeout_s:g} s", fumbled + 1
                    continue
                except httpx.TransportError as error:
                    replica.failed(error)
                    continue
                replica.answered()
            if response.status_code < 400:
                return _told(response, time.monotonic() - began)
            said = f"{response.status_code}: {_message(response)}"
            if response.status_code < 500 and response.status_code != 429:
                return Refused(said)
            fumbled += 1
            await asyncio.sleep(self._settings.back_off_s * 2**fumbled)
        return Refused(said, again=True)


def _body(model: str, ask: Ask) -> dict[str, Any]:
    content: list[dict[str, Any]] = [{"type": "text", "text": ask.prompt}]
    if ask.image is not None:
        kind = "png" if ask.image.startswith(b"\x89PNG") else "jpeg"
        url = f"data:image/{kind};base64,{base64.b64encode(ask.image).decode()}"
        content.insert(0, {"type": "image_url", "image_url": {"url": url}})
    body: dict[str, Any] = {
        "model": model,
        "messages": [{"role": "user", "content": content}],
        "max_tokens": ask.max_tokens,
        "temperature": ask.temperature,
        "seed": ask.seed,
    }
    if ask.schema is not None:
        answer = {"name": "answer", "schema": ask.schema, "strict": True}
        body["response_format"] = {"type": "json_schema", "json_schema": answer}
    return body


def _told(response: httpx.Response, seconds: float) -> Told | Refused:
    try:
        read = response.json()
        choice, usage = read["choices"][0], read.get("usage") or {}
        return Told(
            text=choice["message"]["content"] or "",
            finish="stop" if choice["finish_reason"] == "stop" else "length",
            prompt_tokens=int(usage.get("prompt_tokens") or 0),
            completion_tokens=int(usage.get("completion_tokens") or 0),
            seconds=seconds,
        )
    except (ValueError, KeyError, IndexError, TypeError) as error:
        return Refused(f"not an answer of chat.completions: {type(error).__name__}", again=True)


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
