"""Workspaces and sources in folders of any name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from calling import call
from PIL import Image


def test_a_workspace_and_its_sources_in_places_of_any_name(tmp_path: Path) -> None:
    """Sources may also lie where no table could: below brackets, bars and what looks like an escape."""
    place, source = tmp_path / "a b ü#?100%", tmp_path / "w[1] ü#%41?*" / "p^|"
    source.mkdir(parents=True)
    pixels = np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(pixels).save(source / "a [1] %20 é.png")
    assert call("init", "-w", place).code == 0
    (step,) = call("ingest", source, "-w", place, "--workers", "1", "--json").json
    assert {name: step["counts"][name] for name in ("in", "new")} == {"in": 1, "new": 1}
    (row,) = call("sql", "SELECT image_id FROM images JOIN sources USING (image_id)", "-w", place, "--json").json
    explained = call("explain", source / "a [1] %20 é.png", "-w", place, "--json").json
    assert explained["image"]["image_id"] == row["image_id"]
    assert call("verify", "--full", "-w", place, "--json").json["counts"]["intact"] == 1
    assert call("maintain", "-w", place).code == 0
    assert call("catalog", "-w", place, "--json").json["left_out"] == []
