"""A workspace of its own for each test, and rows to fill it with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from flywheel.schemas import TABLES
from flywheel.workspace import Workspace

Outcomes = Callable[..., pa.Table]


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace.init(str(tmp_path / "ws"))


@pytest.fixture
def outcomes() -> Outcomes:
    """Rows of the table outcomes, one a subject."""

    def rows(*subjects: str, step: str = "ingest") -> pa.Table:
        columns = {"step": step, "config_hash": "c", "attempt": 1, "status": "ok", "retryable": False}
        every = [{**columns, "subject_id": subject} for subject in subjects]
        return pa.Table.from_pylist(every, schema=TABLES["outcomes"].schema)

    return rows


@pytest.fixture
def images() -> Callable[[dict[str, str]], pa.Table]:
    """Rows of the table images by id and URI."""

    def rows(places: dict[str, str]) -> pa.Table:
        every = [{"image_id": name, "uri": uri} for name, uri in places.items()]
        return pa.Table.from_pylist(every, schema=TABLES["images"].schema)

    return rows
