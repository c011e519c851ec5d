"""One real `vllm serve` for all tests of a session, on loopback; ended by its pid."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from flywheel.encoders.vlm_serving import GUIDED_JSON

ROOT = Path(__file__).parents[2]
VENV = Path(os.environ.get("FLYWHEEL_VLLM_VENV", ROOT / ".venv-vllm"))
MODEL = "captioner"
_READY_S = 420.0  # a loaded machine of two cores takes minutes to import everything in three processes


class VllmServer:
    """`start` and `stop` as often as wanted; the port stays."""

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
            "PYTHONPATH": str(Path(__file__).parent / "shim"),
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
        pytest.fail(f"vllm did not come up; the end of its log:\n{self._log.read_text()[-3000:]}")

    def stop(self) -> None:
        """kill -9 of the server and the processes that it started."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None


@pytest.fixture(scope="session")
def captioner_weights() -> Path:
    from pipelines.profiles import find_weights

    weights = find_weights("captioner-miniature-1")
    if weights is None:
        pytest.skip("the miniature's captioner is not here: python -m model.miniature.build")
    return weights


@pytest.fixture(scope="session")
def vllm(captioner_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[VllmServer]:
    if not (VENV / "bin" / "vllm").exists():
        pytest.skip(f"no vLLM in {VENV}: `make test-vllm` sets it up")
    server = VllmServer(captioner_weights, tmp_path_factory.mktemp("vllm") / "log")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def silent() -> Callable[[str], None]:
    return lambda said: print(said, file=sys.stderr)
