"""Domains follow the scores that they are derived from, whatever came first and whoever was killed in between."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import ImageFilter

from filters.planted import layouts
from filters.planted.scenes import photo
from filters.scorers import SCORERS
from flywheel.workspace import Workspace
from flywheel.workspace.tables import FencedTable
from pipelines.curate import steps
from pipelines.domains import name_domains
from pipelines.executors import executor
from pipelines.ingest import ingest
from pipelines.judging import init_workspace, open_workspace
from pipelines.measure import measure


def silent(step: str, done: int, total: int | None, counts: object) -> None: ...


def rows(workspace: Workspace) -> list[dict[str, Any]]:
    """All of `score_domain`; its keys are unique."""
    found: list[dict[str, Any]] = workspace.query("SELECT * FROM score_domain ORDER BY ALL").to_pylist()
    keys = [(row["image_id"], row["version"]) for row in found]
    assert len(keys) == len(set(keys))
    return found


def outcomes(workspace: Workspace) -> list[dict[str, Any]]:
    """How often each image was completed, and under how many keys."""
    found: list[dict[str, Any]] = workspace.query(
        "SELECT subject_id, count(*) AS times, count(DISTINCT (config_hash, attempt)) AS keys, max(attempt) AS attempt "
        "FROM outcomes WHERE step = 'measure.domain' GROUP BY 1 ORDER BY 1"
    ).to_pylist()
    return found


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A soft photograph in which nobody looks for text, and three pictures that only a reader can tell apart."""
    folder = tmp_path_factory.mktemp("domains") / "pictures"
    folder.mkdir()
    rng = np.random.default_rng(5)
    drawn = {
        "slide": layouts.slide(rng, 960, 720, layouts.slide_wording(rng)),
        "poster": layouts.poster(layouts.poster_template(rng, 600, 900), layouts.poster_wording(rng)),
        "diagram": layouts.diagram(rng, 900, 600),
        "photo": photo(rng, 640, 480, scene="landscape").filter(ImageFilter.GaussianBlur(6)),
    }
    for name, image in drawn.items():
        image.save(folder / f"{name}.png")
    return folder


@pytest.fixture(scope="module")
def curated(pictures: Path) -> Workspace:
    """Everything in its order: read first, named afterwards."""
    workspace = init_workspace(str(pictures.parent / "curated"), "cpu")
    for _, run in steps(workspace, [str(pictures)], executor("local", 2), dataset=None, copy_all=False):
        run(silent)
    return workspace


@pytest.fixture(scope="module")
def unread(pictures: Path) -> Workspace:
    """Named before anybody has read."""
    workspace = init_workspace(str(pictures.parent / "unread"), "cpu")
    ingest(workspace, [str(pictures)], executor("local", 2), silent)
    assert name_domains(workspace, silent).counts == {"in": 4, "measured": 4}
    return workspace


@pytest.fixture
def own(unread: Workspace, tmp_path: Path) -> Workspace:
    """A copy of the unread workspace to change."""
    shutil.copytree(unread.path, tmp_path / "ws")
    return open_workspace(str(tmp_path / "ws"))


def readings(workspace: Workspace) -> pa.Table:
    return workspace.query("SELECT * FROM score_ocr")


def test_a_reading_that_comes_later_is_a_reason_to_look_again(own: Workspace, curated: Workspace) -> None:
    assert rows(own) != rows(curated)
    measure(own, "ocr", executor("local", 1), silent)
    report = name_domains(own, silent)
    assert report.counts["in"] == readings(own).num_rows < 4
    assert rows(own) == rows(curated)
    assert sorted(row["domain"] for row in rows(own)) == ["diagram", "photo", "poster", "slide"]
    read = set(readings(own)["image_id"].to_pylist())
    assert {(row["subject_id"] in read, row["attempt"], row["times"]) for row in outcomes(own)} == {
        (True, 2, 2),
        (False, 1, 1),
    }
    before = own.tables.versions()
    assert name_domains(own, silent).run_id is None
    assert own.tables.versions() == before


def test_a_reading_that_was_taken_back_counts_no_more(own: Workspace, unread: Workspace, curated: Workspace) -> None:
    own.tables.append("score_ocr", readings(curated), run_id="test")
    name_domains(own, silent)
    assert rows(own) == rows(curated)
    own.tables.delete_keys("score_ocr", readings(own).select(["image_id", "version"]), run_id="test")
    name_domains(own, silent)
    assert rows(own) == rows(unread)
    assert name_domains(own, silent).run_id is None
    assert all(row["times"] == row["keys"] for row in outcomes(own))


def test_a_domain_that_was_taken_back_is_derived_again(own: Workspace, unread: Workspace) -> None:
    own.tables.delete_keys("score_domain", pa.table({"image_id": [rows(own)[0]["image_id"]]}), run_id="test")
    assert name_domains(own, silent).counts["in"] == 1
    assert rows(own) == rows(unread)


def test_a_new_version_of_what_it_is_derived_from_counts(
    own: Workspace, unread: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SCORERS, "tone", replace(SCORERS["tone"], version="tone-99"))
    name_domains(own, silent)
    assert {row["domain"] for row in rows(own)} == {None}
    measure(own, "scaled", executor("local", 1), silent)
    assert name_domains(own, silent).counts["in"] == 4
    assert rows(own) == rows(unread)


def killed_before(table: str) -> Callable[[FencedTable, pa.Table], None]:
    whole = FencedTable.append

    def append(self: FencedTable, new: pa.Table) -> None:
        if self._name == table:
            raise KeyboardInterrupt
        whole(self, new)

    return append


@pytest.mark.parametrize("table", ["score_domain", "outcomes"])
def test_killed_while_it_replaces_it_ends_with_the_same_tables(
    table: str, own: Workspace, curated: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    own.tables.append("score_ocr", readings(curated), run_id="test")
    with monkeypatch.context() as patch:
        patch.setattr(FencedTable, "append", killed_before(table))
        with pytest.raises(KeyboardInterrupt):
            name_domains(own, silent)
    assert (len(rows(own)) < 4) == (table == "score_domain")
    assert name_domains(own, silent).counts["in"] == readings(own).num_rows
    assert rows(own) == rows(curated)
    assert all(row["times"] == row["keys"] == row["attempt"] for row in outcomes(own))
    assert name_domains(own, silent).run_id is None
