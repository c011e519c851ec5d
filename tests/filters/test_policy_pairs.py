"""Edit pairs: what consistency means, and who is to blame for a pair."""

from __future__ import annotations

from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from filters.pairs import VERSION, consistency, pair_verdicts_sql
from filters.policy import bundled, parse, to_toml
from filters.rules import RULES

SQUARE = ((512, 512), (512, 512))
CHANCE = np.random.default_rng(3)
PICTURE = np.kron(CHANCE.integers(0, 255, (8, 8)), np.ones((4, 4))).astype(np.uint8)
OTHER = np.kron(CHANCE.integers(0, 255, (8, 8)), np.ones((4, 4))).astype(np.uint8)
EDITED = PICTURE.copy()
EDITED[4:16, 4:16] = OTHER[4:16, 4:16]


def test_equal_edited_and_unrelated_pictures_are_told_apart() -> None:
    same, edited, other = (consistency(PICTURE, target, SQUARE) for target in (PICTURE, EDITED, OTHER))
    assert (same.consistency, same.changed_area) == (pytest.approx(1.0), 0.0)
    assert 0.4 < edited.consistency < 0.95
    assert 0.05 < edited.changed_area < 0.6
    assert other.consistency < 0.2
    assert other.changed_area > 0.8


def test_another_frame_counts_as_a_change() -> None:
    assert consistency(PICTURE, PICTURE, ((512, 512), (1024, 512))).consistency == pytest.approx(0.5)
    with pytest.raises(ValueError, match="equal shapes"):
        consistency(PICTURE, PICTURE[:16], SQUARE)


def judged(pairs: list[dict[str, Any]], scores: list[dict[str, Any]]) -> dict[tuple[str, int], tuple[Any, ...]]:
    """Only short side, duplicate and pair consistency apply."""
    others = [name for name in RULES if name not in ("short_side", "duplicate", "pair_consistency")]
    policy = parse(to_toml(bundled("full").without(*others)))
    images = [
        {"image_id": name, "width_px": px, "height_px": px, "domain": "photo", "concept": None, "phash_version": "1"}
        | {"representative_id": "big" if name == "big_too" else None}
        for name, px in (("big", 2048), ("big_too", 2048), ("small", 300))
    ]
    with duckdb.connect(config={"threads": 1}) as connection:
        for name, rows in (("scores", images), ("pairs", pairs), ("pair_scores", scores)):
            connection.register(name, pa.Table.from_pylist(rows))
        found = connection.sql(pair_verdicts_sql(policy)).to_arrow_table().to_pylist()
    return {(row["pair_id"], row["stage"]): (row["verdict"], row["rule"], row["image_id"]) for row in found}


def pair(pair_id: str, target: str, *references: str) -> dict[str, Any]:
    return {"pair_id": pair_id, "target_id": target, "reference_ids": list(references)}


def score(pair_id: str, value: float, version: str = VERSION) -> dict[str, Any]:
    return {"pair_id": pair_id, "version": version, "consistency": value}


def test_a_pair_stands_and_falls_with_its_pictures_and_its_consistency() -> None:
    names = ("fine", "small", "same", "torn", "unmeasured", "unknown")
    targets = {"small": ("big", "small"), "unknown": ("big", "gone")}
    pairs = [pair(name, *targets.get(name, ("big_too", "big"))) for name in names]
    values = {"fine": 0.9, "small": 0.9, "same": 1.0, "torn": 0.1, "unknown": 0.9}
    scores = [score(name, value) for name, value in values.items()] + [score("unmeasured", 0.9, "older")]
    verdicts = judged(pairs, scores)
    assert len(verdicts) == len(names) * 5
    assert {verdicts["fine", stage] for stage in range(2, 7)} == {("kept", None, None)}
    assert verdicts["small", 2] == ("kept", None, None)
    assert verdicts["small", 3] == ("dropped", "short_side", "small")
    assert verdicts["same", 2] == verdicts["torn", 2] == ("dropped", "pair_consistency", None)
    assert verdicts["unmeasured", 2] == ("unjudged", "pair_consistency", None)
    assert verdicts["unknown", 2] == ("unjudged", "image", None)
