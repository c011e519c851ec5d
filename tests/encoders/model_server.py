"""A small real HTTP server that speaks as OpenAI-style ones do and misbehaves on demand."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Reply = tuple[int, Any] | None  # status and JSON; None hangs up

Script = Callable[[dict[str, Any], int], Reply]  # the request's body, how many came before


def says(text: str, finish: str = "stop") -> Reply:
    choice = {"message": {"content": text}, "finish_reason": finish}
    return 200, {"choices": [choice], "usage": {"prompt_tokens": 7, "completion_tokens": 3}}


def echo(body: dict[str, Any], _: int) -> Reply:
    return says(json.dumps({"asked": body["messages"][0]["content"][-1]["text"]}))


class ModelServer:
    """Serves on loopback from `start` to `stop`, again on the same port if started again."""

    def __init__(self, script: Script = echo, model: str = "m", slow_s: float = 0.0) -> None:
        self.script, self.model, self.slow_s = script, model, slow_s
        self.bodies: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.at_once = self.most_at_once = 0
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._server: ThreadingHTTPServer | None = None
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def start(self) -> ModelServer:
        server = self._make()
        self._server, self.port = server, server.server_address[1]
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
            for connection in self._open:  # those that are kept alive would go on being served
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            self._open.clear()

    def _make(self) -> ThreadingHTTPServer:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                outer._open.add(self.connection)

            def do_GET(self) -> None:
                self._send(200, {"data": [{"id": outer.model}]})

            def do_POST(self) -> None:
                data = self.rfile.read(int(self.headers["Content-Length"]))
                is_json = self.headers["Content-Type"].startswith("application/json")
                body = json.loads(data) if is_json else {"form": data}
                with outer._lock:
                    outer.paths.append(self.path)
                    before = len(outer.bodies)
                    outer.bodies.append(body)
                    outer.at_once += 1
                    outer.most_at_once = max(outer.most_at_once, outer.at_once)
                time.sleep(outer.slow_s)
                reply = outer.script(body, before)
                with outer._lock:
                    outer.at_once -= 1
                if reply is None:
                    self.close_connection = True
                    self.connection.close()
                else:
                    self._send(*reply)

            def _send(self, status: int, said: Any) -> None:
                data = json.dumps(said).encode()
                try:
                    self.send_response(status)
                    self.send_header("Content-Length", str(len(data)))
                    self.end_headers()
                    self.wfile.write(data)
                except OSError:
                    pass

            def log_message(self, *_: Any) -> None: ...

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, *_: Any) -> None: ...

        return Server(("127.0.0.1", self.port), Handler)
