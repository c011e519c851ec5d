"""One real `vllm serve` for all tests of a session."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchmarks.vllm_server import VENV, VllmServer


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
