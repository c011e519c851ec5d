"""Fetch a URL that a stranger wrote down, without reaching anything but the public internet.

- http and https only, no user info in the URL, any port.
- Every address of the host must be global; the connection goes to the checked address itself (TLS still
  verifies the host's name), and every redirect is checked afresh. `allow_hosts` admits named hosts.
- One deadline for the whole request, resolver, handshake and redirects included; bodies are cut at
  `max_bytes`, declared, received and unpacked.
- Proxies of the environment (HTTP_PROXY…) are not used: behind one, the address check would check nothing.
- `X-Robots-Tag: noai` or `noimageai` is honoured.
"""

from __future__ import annotations

import functools
import itertools
import re
import ssl
import time
import typing
import zlib
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import httpcore
import httpx

from flywheel import __version__
from flywheel.records import Failure, Reason
from pipelines.sources import addresses

_AGENT = "flywheel"
_OPT_OUTS = frozenset({"noai", "noimageai"})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_NUMERIC_HOST = re.compile(r"https?://[0-9a-fx]*\.[0-9a-fx.]+(?=[:/?#]|$)", re.IGNORECASE)
_TRY_LATER = frozenset({408, 425, 429})
_PARTIAL = 206

T = TypeVar("T")
_Headers = Mapping[bytes | str, bytes | str]
_Taker = Callable[[httpcore.Response, httpx.Headers, httpx.URL], T]


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchLimits:
    """Bounds of one fetch; the numbers are our choice. `allow_hosts` holds `host` or `host:port`."""

    max_bytes: int = 64 << 20
    total_s: float = 30.0
    max_redirects: int = 5
    allow_hosts: Collection[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """A body and where it finally came from."""

    data: bytes
    final_url: str
    etag: str | None
    content_type: str | None


class _Refused(Exception):
    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.failure = Failure(reason=reason, detail=detail[:500])


@dataclass(frozen=True, slots=True)
class _Deadline:
    at: float

    def left_s(self) -> float:
        """Seconds left. Raises httpcore.ReadTimeout when there are none."""
        left = self.at - time.monotonic()
        if left <= 0:
            raise httpcore.ReadTimeout("the time for this URL is used up")
        return left


class _DeadlineStream(httpcore.NetworkStream):
    """A connection whose every wait is bounded by what is left of the whole request's time."""

    def __init__(self, inner: httpcore.NetworkStream, deadline: _Deadline) -> None:
        self._inner = inner
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, self._deadline.left_s())

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, self._deadline.left_s())

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        secured = self._inner.start_tls(ssl_context, server_hostname, self._deadline.left_s())
        return _DeadlineStream(secured, self._deadline)

    def get_extra_info(self, info: str) -> typing.Any:
        return self._inner.get_extra_info(info)


class _PinnedBackend(httpcore.NetworkBackend):
    """Connects to addresses that were already checked, whatever the host's name says by now."""

    def __init__(self, checked: list[str], deadline: _Deadline) -> None:
        self._checked = checked
        self._deadline = deadline
        self._sockets = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        for nth, address in enumerate(self._checked):
            # One dead address must not eat the time of the others.
            wait_s = self._deadline.left_s() / (len(self._checked) - nth)
            try:
                stream = self._sockets.connect_tcp(address, port, wait_s, socket_options=socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                if nth + 1 == len(self._checked):
                    raise
            else:
                return _DeadlineStream(stream, self._deadline)
        raise httpcore.ConnectError(f"{host} has no address")


def fetch(url: str, limits: FetchLimits) -> Fetched | Failure:
    """The bytes behind a URL, or why not. Never raises for what a URL or a server does."""

    def taken(response: httpcore.Response, headers: httpx.Headers, target: httpx.URL) -> Fetched:
        return Fetched(
            data=_body(response, headers, limits.max_bytes),
            final_url=str(target),
            etag=headers.get("etag"),
            content_type=headers.get("content-type"),
        )

    return _answered(url, limits, taken, {})


def download(url: str, to: Path, limits: FetchLimits, on_bytes: Callable[[int], None]) -> int | Failure:
    """Write what is behind a URL to a file, after what an earlier try has left there; the file's size, or why not.

    `on_bytes` hears how much is there. Never raises for what a URL or a server does, and keeps what has come.
    """

    def taken(response: httpcore.Response, headers: httpx.Headers, target: httpx.URL) -> int:
        if headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
            raise _Refused(Reason.HTTP_REFUSED, "the server insists on a content encoding")
        there = to.stat().st_size if response.status == _PARTIAL and to.exists() else 0
        with to.open("ab" if there else "wb") as file:
            for chunk in response.iter_stream():
                there += len(chunk)
                if there > limits.max_bytes:
                    raise _Refused(Reason.TOO_MANY_BYTES, f"more than {limits.max_bytes} bytes")
                file.write(chunk)
                on_bytes(there)
        return there

    begun = to.stat().st_size if to.exists() else 0
    return _answered(url, limits, taken, {"Range": f"bytes={begun}-"} if begun else {})


def _answered(url: str, limits: FetchLimits, taken: _Taker[T], headers: _Headers) -> T | Failure:
    deadline = _Deadline(time.monotonic() + limits.total_s)
    try:
        return _follow(url, limits, deadline, taken, headers)
    except _Refused as refusal:
        return refusal.failure
    except (httpcore.TimeoutException, TimeoutError) as error:
        return Failure(reason=Reason.FETCH_TIMED_OUT, detail=f"{error or 'timed out'}"[:500])
    except (httpcore.NetworkError, httpcore.ProtocolError, OSError) as error:
        return Failure(reason=Reason.FETCH_FAILED, detail=f"{type(error).__name__}: {error}"[:500])


def fetch_many(urls: Iterable[str], limits: FetchLimits, concurrency: int = 16) -> Iterator[Fetched | Failure]:
    """`fetch` for each URL, in the order given.

    At most `concurrency` bodies are held here, besides those that whoever reads keeps: `limits.max_bytes` each.
    """
    pending: deque[Future[Fetched | Failure]] = deque()
    remaining = iter(urls)
    pool = ThreadPoolExecutor(concurrency, thread_name_prefix="flywheel-fetch")
    try:
        pending.extend(pool.submit(fetch, url, limits) for url in itertools.islice(remaining, concurrency))
        while pending:
            yield pending.popleft().result()
            pending.extend(pool.submit(fetch, url, limits) for url in itertools.islice(remaining, 1))
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _follow(url: str, limits: FetchLimits, deadline: _Deadline, taken: _Taker[T], headers: _Headers) -> T:
    target = _parse(url)
    for _ in range(limits.max_redirects + 1):
        answer = _request(target, limits, deadline, taken, headers)
        if not isinstance(answer, httpx.URL):
            return answer
        target = answer
    raise _Refused(Reason.HTTP_REFUSED, f"more than {limits.max_redirects} redirects")


def _parse(url: str, base: httpx.URL | None = None) -> httpx.URL:
    try:
        parsed = base.join(url) if base is not None else httpx.URL(url)
    except (httpx.InvalidURL, ValueError) as error:
        # `httpx` refuses octal spellings such as 0177.0.0.1, which other programs take for 127.0.0.1.
        reason = Reason.ADDRESS_REFUSED if _NUMERIC_HOST.match(url) else Reason.BAD_LISTING
        raise _Refused(reason, f"not a URL: {error}") from error
    if parsed.scheme not in ("http", "https"):
        raise _Refused(Reason.ADDRESS_REFUSED, f"only http and https are fetched, not {parsed.scheme or 'a bare name'}")
    if parsed.userinfo:
        raise _Refused(Reason.ADDRESS_REFUSED, "a URL with a user name or password is not fetched")
    if not parsed.raw_host or b"%" in parsed.raw_host or not 0 < (parsed.port or 80) < 65536:
        raise _Refused(Reason.BAD_LISTING, "not a URL: no usable host or port")
    return parsed


def _checked_addresses(target: httpx.URL, limits: FetchLimits, deadline: _Deadline) -> list[str]:
    host = target.raw_host.decode("ascii").lower().rstrip(".")
    port = target.port or (443 if target.scheme == "https" else 80)
    found = addresses.resolve(host, port, deadline.left_s())
    admitted = {name.lower() for name in limits.allow_hosts}
    if admitted & {host, f"{host}:{port}", f"[{host}]", f"[{host}]:{port}"}:
        return found
    # One private answer among public ones is how rebinding looks, so it refuses the host.
    private = [address for address in found if not addresses.is_public(address)]
    if private:
        raise _Refused(Reason.ADDRESS_REFUSED, f"{host} is {private[0]}, which is not a public address")
    return found


def _request(
    target: httpx.URL, limits: FetchLimits, deadline: _Deadline, taken: _Taker[T], wanted: _Headers
) -> T | httpx.URL:
    """One hop: what is made of the body, or the URL that a redirect leads to."""
    backend = _PinnedBackend(_checked_addresses(target, limits, deadline), deadline)
    secure = target.scheme == "https"
    url = httpcore.URL(scheme=target.scheme, host=target.raw_host, port=target.port, target=target.raw_path)
    headers: dict[bytes | str, bytes | str] = {
        "Host": target.netloc.decode("ascii"),
        "User-Agent": f"{_AGENT}/{__version__}",
        "Accept": "image/*,*/*;q=0.5",
        "Accept-Encoding": "identity",
        **wanted,
    }
    context = _tls_context() if secure else None
    with (
        httpcore.ConnectionPool(ssl_context=context, network_backend=backend) as pool,
        pool.stream("GET", url, headers=headers) as response,
    ):
        answered = httpx.Headers(response.headers)
        _obey_robots(answered)
        if response.status in _REDIRECTS and "location" in answered:
            return _parse(answered["location"], base=target)
        _check_status(response.status)
        return taken(response, answered, target)


@functools.cache
def _tls_context() -> ssl.SSLContext:
    return httpcore.default_ssl_context()


def _check_status(status: int) -> None:
    if 200 <= status < 300:
        return
    reason = Reason.FETCH_FAILED if status >= 500 or status in _TRY_LATER else Reason.HTTP_REFUSED
    raise _Refused(reason, f"HTTP {status}")


def _obey_robots(headers: httpx.Headers) -> None:
    """Raise OPTED_OUT for `noai` and `noimageai` addressed to everyone or to us."""
    for value in headers.get_list("x-robots-tag"):
        agent = None
        for part in value.lower().split(","):
            name, colon, directive = part.partition(":")
            if colon and name.strip() != "unavailable_after":
                agent, part = name.strip(), directive
            if agent in (None, "*", _AGENT) and part.strip() in _OPT_OUTS:
                raise _Refused(Reason.OPTED_OUT, f"X-Robots-Tag: {part.strip()}")


def _body(response: httpcore.Response, headers: httpx.Headers, max_bytes: int) -> bytes:
    declared = headers.get("content-length", "")
    if declared.isdecimal() and (len(declared) > 18 or int(declared) > max_bytes):
        raise _Refused(Reason.TOO_MANY_BYTES, f"the server declares {declared[:30]} bytes, more than {max_bytes}")
    encoding = headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("", "identity", "gzip", "x-gzip"):
        raise _Refused(Reason.HTTP_REFUSED, f"the server insists on content encoding {encoding}")
    unpacker = zlib.decompressobj(wbits=31) if encoding.endswith("gzip") else None
    body = bytearray()
    received = 0
    try:
        for chunk in response.iter_stream():
            received += len(chunk)
            body += unpacker.decompress(chunk, max_bytes + 1 - len(body)) if unpacker else chunk
            if max(received, len(body)) > max_bytes:
                raise _Refused(Reason.TOO_MANY_BYTES, f"more than {max_bytes} bytes")
    except zlib.error as error:
        raise _Refused(Reason.FETCH_FAILED, f"broken gzip body: {error}") from error
    if unpacker is not None and not unpacker.eof:
        raise _Refused(Reason.FETCH_FAILED, "the gzip body ends early")
    return bytes(body)
