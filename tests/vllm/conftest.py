"""One real `vllm serve` for all tests of a session."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from benchmarks.vllm_server import MODEL, VENV, VllmServer
from tests.encoders.model_server import ModelServer, Reply


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
def forward(vllm: VllmServer) -> Iterator[Callable[..., ModelServer]]:
    """Doors to the server: `trouble` gives, for each request by number, a status instead of an answer or None, and a delay."""
    opened: list[ModelServer] = []

    def door(trouble: Callable[[int], tuple[int | None, float]]) -> ModelServer:
        def passed_on(body: dict[str, Any], number: int) -> Reply:
            status, delay_s = trouble(number)
            time.sleep(delay_s)
            if status is not None:
                return status, {"error": {"message": "stumbled"}}
            answer = httpx.post(f"{vllm.url}/chat/completions", json=body, timeout=300)
            return answer.status_code, answer.json()

        opened.append(ModelServer(passed_on, MODEL).start())
        return opened[-1]

    yield door
    for one in opened:
        one.stop()


@pytest.fixture
def silent() -> Callable[[str], None]:
    return lambda said: print(said, file=sys.stderr)
