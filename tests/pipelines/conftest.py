"""One Ray for all tests of a session; worker functions importable by name."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session", autouse=True)
def importable_tasks() -> Iterator[None]:
    folder = str(Path(__file__).parent)
    sys.path.insert(0, folder)
    yield
    sys.path.remove(folder)


@pytest.fixture(scope="session")
def ray_cluster(importable_tasks: None) -> Iterator[None]:
    """A local cluster, as the executor starts it, for all that need one."""
    import ray

    from pipelines.executors.ray_data import connect

    os.environ.pop("RAY_ADDRESS", None)
    connect(2)
    yield
    ray.shutdown()
