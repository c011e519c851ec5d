"""Fetching from a hostile internet, played by a server on loopback."""

import gzip
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from flywheel.records import Failure, Reason
from pipelines.sources import addresses
from pipelines.sources import fetch as fetching
from pipelines.sources.fetch import Fetched, FetchLimits, fetch, fetch_many

BODY = b"\xff\xd8 not really a jpeg"


def answer(handler: BaseHTTPRequestHandler, status: int, body: bytes = b"", **headers: str) -> None:
    handler.send_response(status)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    for name, value in {"Content-Length": str(len(body)), **named}.items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(body)


def drip(handler: BaseHTTPRequestHandler, piece: bytes, pause_s: float) -> None:
    handler.send_response(200)
    handler.end_headers()
    for _ in range(10_000):
        handler.wfile.write(piece)
        time.sleep(pause_s)


def drip_headers(handler: BaseHTTPRequestHandler) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
    for number in range(10_000):
        handler.wfile.write(f"X-{number}: y\r\n".encode())
        time.sleep(0.02)


PAGES: dict[str, Callable[[BaseHTTPRequestHandler], None]] = {
    "/ok": lambda h: answer(h, 200, BODY, ETag='"v1"', Content_Type="image/jpeg"),
    "/hop": lambda h: answer(h, 302, Location="/ok"),
    "/loop": lambda h: answer(h, 302, Location="/loop"),
    "/to-loopback": lambda h: answer(h, 302, Location="http://localhost:1/x"),
    "/to-private": lambda h: answer(h, 301, Location="http://10.0.0.8/x"),
    "/to-link-local": lambda h: answer(h, 307, Location="http://169.254.169.254/latest/meta-data"),
    "/to-file": lambda h: answer(h, 302, Location="file:///etc/passwd"),
    "/to-nonsense": lambda h: answer(h, 302, Location="http://[::1"),
    "/slow": lambda h: drip(h, b"x", 0.02),
    "/slow-headers": drip_headers,
    "/endless": lambda h: drip(h, b"x" * 65536, 0.0),
    "/declares-too-much": lambda h: answer(h, 200, b"x", Content_Length="999999999"),
    "/declares-absurdly": lambda h: answer(h, 200, b"x", Content_Length="9" * 19),
    "/ends-early": lambda h: answer(h, 200, b"x" * 10, Content_Length="100"),
    "/gzip": lambda h: answer(h, 200, gzip.compress(BODY), Content_Encoding="gzip"),
    "/gzip-cut": lambda h: answer(h, 200, gzip.compress(BODY)[:-9], Content_Encoding="gzip"),
    "/gzip-bomb": lambda h: answer(h, 200, gzip.compress(bytes(50 << 20)), Content_Encoding="gzip"),
    "/brotli": lambda h: answer(h, 200, BODY, Content_Encoding="br"),
    "/noai": lambda h: answer(h, 200, BODY, X_Robots_Tag="noindex, NoAI"),
    "/noai-us": lambda h: answer(h, 200, BODY, X_Robots_Tag="otherbot: all, flywheel: noimageai"),
    "/noai-others": lambda h: answer(h, 200, BODY, X_Robots_Tag="otherbot: noai"),
    "/404": lambda h: answer(h, 404),
    "/410": lambda h: answer(h, 410),
    "/429": lambda h: answer(h, 429),
    "/500": lambda h: answer(h, 500),
    "/garbage": lambda h: h.wfile.write(b"\0\1\2 not http\r\n\r\n"),
}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.close_connection = True
        try:
            if self.path.startswith("/echo-agent"):
                answer(self, 200, self.headers["User-Agent"].encode())
            else:
                PAGES[self.path](self)
        except (ConnectionError, ssl.SSLError):
            pass  # the client is expected to hang up on what it refuses

    def log_message(self, *_: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        pass  # a client that turns away from a bad certificate is the point of a test


def served(server: ThreadingHTTPServer) -> Iterator[int]:
    server.daemon_threads = True
    server.block_on_close = False
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    yield from served(Server(("127.0.0.1", 0), Handler))


def limits(port: int, **changes: object) -> FetchLimits:
    settings = {"max_bytes": 1 << 20, "total_s": 5.0, "allow_hosts": frozenset({f"127.0.0.1:{port}"}), **changes}
    return FetchLimits(**settings)  # type: ignore[arg-type]


def reason_of(path: str, port: int, **changes: object) -> Reason:
    got = fetch(f"http://127.0.0.1:{port}{path}", limits(port, **changes))
    assert isinstance(got, Failure), got
    return got.reason


def test_a_body_comes_with_where_it_came_from(port: int) -> None:
    got = fetch(f"http://127.0.0.1:{port}/hop", limits(port))
    assert got == Fetched(data=BODY, final_url=f"http://127.0.0.1:{port}/ok", etag='"v1"', content_type="image/jpeg")


def test_a_gzip_body_that_was_not_asked_for_is_unpacked(port: int) -> None:
    got = fetch(f"http://127.0.0.1:{port}/gzip", limits(port))
    assert isinstance(got, Fetched)
    assert got.data == BODY


def test_an_opt_out_for_others_is_not_ours(port: int) -> None:
    assert isinstance(fetch(f"http://127.0.0.1:{port}/noai-others", limits(port)), Fetched)


def test_we_say_who_we_are(port: int) -> None:
    got = fetch(f"http://127.0.0.1:{port}/echo-agent", limits(port))
    assert isinstance(got, Fetched)
    assert got.data.startswith(b"flywheel/")


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/loop", Reason.HTTP_REFUSED),
        ("/to-loopback", Reason.ADDRESS_REFUSED),
        ("/to-private", Reason.ADDRESS_REFUSED),
        ("/to-link-local", Reason.ADDRESS_REFUSED),
        ("/to-file", Reason.ADDRESS_REFUSED),
        ("/to-nonsense", Reason.BAD_LISTING),
        ("/declares-too-much", Reason.TOO_MANY_BYTES),
        ("/declares-absurdly", Reason.TOO_MANY_BYTES),
        ("/endless", Reason.TOO_MANY_BYTES),
        ("/gzip-bomb", Reason.TOO_MANY_BYTES),
        ("/gzip-cut", Reason.FETCH_FAILED),
        ("/ends-early", Reason.FETCH_FAILED),
        ("/garbage", Reason.FETCH_FAILED),
        ("/brotli", Reason.HTTP_REFUSED),
        ("/noai", Reason.OPTED_OUT),
        ("/noai-us", Reason.OPTED_OUT),
        ("/404", Reason.HTTP_REFUSED),
        ("/410", Reason.HTTP_REFUSED),
        ("/429", Reason.FETCH_FAILED),
        ("/500", Reason.FETCH_FAILED),
    ],
)
def test_each_fault_has_its_reason(port: int, path: str, reason: Reason) -> None:
    assert reason_of(path, port) is reason


@pytest.mark.parametrize("path", ["/slow", "/slow-headers"])
def test_one_deadline_holds_for_the_whole_request(port: int, path: str) -> None:
    assert reason_of(path, port, total_s=0.3) is Reason.FETCH_TIMED_OUT


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "2130706433",
        "0177.0.0.1",
        "0x7f.1",
        "127.1",
        "localhost",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "[fd00::1]",
        "0.0.0.0",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "127。0。0。1",
    ],
)
def test_no_spelling_of_a_private_address_is_reached(port: int, host: str) -> None:
    got = fetch(f"http://{host}:{port}/ok", FetchLimits(total_s=5.0))
    assert isinstance(got, Failure)
    assert got.reason is Reason.ADDRESS_REFUSED


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("file:///etc/passwd", Reason.ADDRESS_REFUSED),
        ("ftp://example.com/a.jpg", Reason.ADDRESS_REFUSED),
        ("gopher://example.com/", Reason.ADDRESS_REFUSED),
        ("http://user:secret@127.0.0.1/", Reason.ADDRESS_REFUSED),
        ("http://8.8.8.8\\@127.0.0.1/", Reason.ADDRESS_REFUSED),
        ("http:///a.jpg", Reason.BAD_LISTING),
        ("http://[::1", Reason.BAD_LISTING),
        ("http://8.8.8.8:99999/", Reason.BAD_LISTING),
        ("http://a b/", Reason.BAD_LISTING),
        ("", Reason.ADDRESS_REFUSED),
    ],
)
def test_what_is_not_a_plain_http_url_is_refused(url: str, reason: Reason) -> None:
    got = fetch(url, FetchLimits(total_s=2.0))
    assert isinstance(got, Failure)
    assert got.reason is reason


@pytest.mark.parametrize("text", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::"])
def test_public_addresses_are_public(text: str) -> None:
    assert addresses.is_public(text)


@pytest.mark.parametrize("text", ["fe80::1%eth0", "ff02::1", "::", "64:ff9b:1::1", "fec0::1", "2001::1", "192.88.99.1"])
def test_special_addresses_are_not_public(text: str) -> None:
    assert not addresses.is_public(text)


def test_a_second_dns_answer_cannot_lead_elsewhere(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def rebinding(host: str, *_: object, **__: object) -> list[tuple[object, ...]]:
        asked.append(host)
        address = "203.0.113.7" if len(asked) == 1 else "127.0.0.1"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    connected: list[str] = []

    class Recording(fetching.httpcore.SyncBackend):
        def connect_tcp(self, host: str, *_: object, **__: object) -> fetching.httpcore.NetworkStream:
            connected.append(host)
            raise fetching.httpcore.ConnectError("recorded")

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    monkeypatch.setattr(addresses, "is_public", lambda text: text == "203.0.113.7")
    monkeypatch.setattr(fetching.httpcore, "SyncBackend", Recording)
    got = fetch(f"http://rebind.example:{port}/ok", FetchLimits(total_s=2.0))
    assert isinstance(got, Failure)
    assert got.reason is Reason.FETCH_FAILED
    assert asked == ["rebind.example"]
    assert connected == ["203.0.113.7"]


def test_one_private_answer_among_public_ones_refuses_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses, "resolve", lambda *_: ["8.8.8.8", "10.0.0.1"])
    got = fetch("http://mixed.example/", FetchLimits(total_s=2.0))
    assert isinstance(got, Failure)
    assert got.reason is Reason.ADDRESS_REFUSED


def test_a_name_that_does_not_resolve_may_be_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> list[object]:
        raise socket.gaierror("unknown name")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    got = fetch("http://nowhere.example/", FetchLimits(total_s=2.0))
    assert isinstance(got, Failure)
    assert got.reason is Reason.FETCH_FAILED


def test_a_silent_resolver_is_under_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()

    def silent(*_: object, **__: object) -> list[object]:
        release.wait(20)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", silent)
    got = fetch("http://silent.example/", FetchLimits(total_s=0.2))
    release.set()
    assert isinstance(got, Failure)
    assert got.reason is Reason.FETCH_TIMED_OUT


def test_environment_proxies_are_not_used(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert isinstance(fetch(f"http://127.0.0.1:{port}/ok", limits(port)), Fetched)


def test_a_port_of_an_admitted_host_does_not_admit_its_others(port: int) -> None:
    got = fetch(f"http://127.0.0.1:{port}/ok", FetchLimits(allow_hosts=frozenset({"127.0.0.1:1"})))
    assert isinstance(got, Failure)
    assert got.reason is Reason.ADDRESS_REFUSED


def test_many_are_answered_in_order(port: int) -> None:
    paths = ["/ok", "/404", "/slow", "/hop", "/500"] * 3
    got = list(fetch_many((f"http://127.0.0.1:{port}{path}" for path in paths), limits(port, total_s=0.5), 4))
    kinds = [answer.reason if isinstance(answer, Failure) else None for answer in got]
    assert kinds == [None, Reason.HTTP_REFUSED, Reason.FETCH_TIMED_OUT, None, Reason.FETCH_FAILED] * 3


@given(text=st.text(st.characters(), max_size=40), location=st.text(st.characters(), max_size=40))
@settings(max_examples=150, deadline=None)
def test_no_url_and_no_redirect_makes_it_raise(text: str, location: str) -> None:
    moved = b"HTTP/1.1 302 Found\r\nLocation: " + location.encode("utf-8", "replace") + b"\r\nContent-Length: 0\r\n\r\n"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(addresses, "resolve", lambda *_: ["8.8.8.8"])
        patch.setattr(fetching.httpcore, "SyncBackend", lambda: fetching.httpcore.MockBackend([moved]))
        for url in (text, f"http://{text}", f"https://host.example/{text}"):
            assert isinstance(fetch(url, FetchLimits(total_s=5.0)), Failure)


@pytest.fixture
def secure_port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A TLS server whose certificate names img.example, and a client that trusts its issuer."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "img.example")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now - timedelta(days=1), now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("img.example")]), critical=False)
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (tmp_path / "both.pem").write_bytes(secret + certificate)
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(tmp_path / "both.pem")
    trusting = ssl.create_default_context(cadata=certificate.decode())
    monkeypatch.setattr(fetching, "_tls_context", lambda: trusting)
    monkeypatch.setattr(addresses, "resolve", lambda *_: ["127.0.0.1"])
    server = Server(("127.0.0.1", 0), Handler)
    server.socket = serving.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    yield from served(server)


@pytest.mark.parametrize("host", ["img.example", "other.example"])
def test_tls_verifies_the_name_though_the_address_is_pinned(secure_port: int, host: str) -> None:
    got = fetch(f"https://{host}:{secure_port}/ok", FetchLimits(total_s=5.0, allow_hosts=frozenset({host})))
    if host == "img.example":
        assert isinstance(got, Fetched)
        assert got.data == BODY
    else:
        assert isinstance(got, Failure)
        assert "CERTIFICATE_VERIFY_FAILED" in got.detail
