"""A real `vllm serve` on loopback, for what is measured against it and tested with it; ended by its pid.

A GPU machine needs none of this: the folder `tests/vllm/shim` makes a CPU build start.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import httpx

from flywheel.encoders.vlm_serving import GUIDED_JSON

ROOT = Path(__file__).parents[1]
VENV = Path(os.environ.get("FLYWHEEL_VLLM_VENV", ROOT / ".venv-vllm"))
MODEL = "captioner"  # the name that weights are served under
_READY_S = 420.0  # a loaded machine of two cores takes minutes to import everything in three processes


class NotReady(Exception):
    """The server did not come up; the message is the end of its log."""


class VllmServer:
    """`start` and `stop` as often as wanted; the port stays."""

    shim = str(ROOT / "tests" / "vllm" / "shim")

    def __init__(self, weights: Path, log: Path) -> None:
        self._weights, self._log = weights, log
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def start(self, *, wait: bool = True) -> None:
        environment = os.environ | {
            "PYTHONPATH": self.shim,
            "OMP_NUM_THREADS": "1",
            "VLLM_CPU_KVCACHE_SPACE": "1",
            "VLLM_CPU_OMP_THREADS_BIND": "nobind",
            "VLLM_NO_USAGE_STATS": "1",
            "HF_HUB_OFFLINE": "1",
        }
        command = [
            *(str(VENV / "bin" / "vllm"), "serve", str(self._weights), "--host", "127.0.0.1", "--port", str(self.port)),
            *("--served-model-name", MODEL, "--dtype", "float32", "--max-model-len", "1024", "--enforce-eager"),
            *("--max-num-seqs", "64", "--limit-mm-per-prompt", '{"image":1,"video":0}'),
            *("--structured-outputs-config", GUIDED_JSON),
        ]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
        if wait:
            self.wait()

    def wait(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + _READY_S
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                break
            with suppress(httpx.HTTPError):
                if httpx.get(f"http://127.0.0.1:{self.port}/health", timeout=5).status_code == 200:
                    return
            time.sleep(1)
        raise NotReady(f"vllm did not come up; the end of its log:\n{self._log.read_text()[-3000:]}")

    def stop(self) -> None:
        """kill -9 of the server and the processes that it started."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None
