"""What many tests share: one small rendered sample set a session, and quick ways to run the engine."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from filters.planted.render import render
from filters.planted.truth import Planted

# A change is judged by what it changes, not by the luck of a draw; to look for what nobody has seen yet, run
# `pytest --hypothesis-profile explore` now and then.
settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.register_profile("explore", max_examples=2000, deadline=None, suppress_health_check=list(HealthCheck))
settings.load_profile("repeatable")

SHARED = Path(__file__).parents[1].parent / "shared"


@pytest.fixture(scope="session")
def planted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Planted]]:
    """A sample set of 120 files: root and truth. Read only."""
    root = tmp_path_factory.mktemp("planted")
    return root, render(root, seed=11, images=120)


@pytest.fixture(scope="session")
def few_images(planted: tuple[Path, list[Planted]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of about 40 small files of every kind but posters: cheap to curate, every outcome in it."""
    root, truth = planted
    folder = tmp_path_factory.mktemp("few") / "images"
    folder.mkdir()
    taken: Counter[str] = Counter()
    for item in truth:
        source = root / item.path
        if item.series or source.is_symlink() or (source.stat().st_size > 150_000 and item.decodes):
            continue
        taken[item.family] += 1
        if item.family == "hostile" or taken[item.family] <= 3:
            shutil.copy2(source, folder / item.path.replace("/", "_"))
    return folder
