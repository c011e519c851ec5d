"""Edit pairs: what consistency means, and who is to blame for a pair."""

from __future__ import annotations

from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from filters.pairs import PAIR_COUNTS, VERSION, StagePairs, consistency, count_pairs, pair_verdicts_sql
from filters.policy import bundled, parse, to_toml
from filters.rules import RULES
from flywheel.buckets import framed_sql
from flywheel.errors import ConservationError

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


def asked(sql: str, pairs: list[dict[str, Any]], scores: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """`sql` over `pair_verdicts`. Only short side, duplicate and pair consistency apply."""
    others = [name for name in RULES if name not in ("short_side", "duplicate", "pair_consistency")]
    policy = parse(to_toml(bundled("full").without(*others)))
    unmeasured = {rule.expression: None for rule in RULES.values() if rule.expression.isidentifier()}
    unmeasured |= {f"{scorer}_version": None for rule in RULES.values() for scorer in rule.needs}
    for computed in ("short_side_px", "crop_loss"):
        del unmeasured[computed]
    images = [
        {**unmeasured, "image_id": name, "width_px": px, "height_px": px, "bytes": px, "domain": "photo"}
        | {"concept": None, "phash_version": "1", "representative_id": "big" if name == "big_too" else None}
        for name, px in (("big", 2048), ("big_too", 2048), ("small", 300))
    ]
    with duckdb.connect(config={"threads": 1}) as connection:
        for name, rows in (("unframed", images), ("pairs", pairs), ("pair_scores", scores)):
            connection.register(name, pa.Table.from_pylist(rows))
        connection.execute(f"CREATE VIEW scores AS {framed_sql('unframed')}")
        connection.execute(f"CREATE VIEW pair_verdicts AS {pair_verdicts_sql(policy)}")
        found: list[dict[str, Any]] = connection.sql(sql).to_arrow_table().to_pylist()
    return found


def judged(pairs: list[dict[str, Any]], scores: list[dict[str, Any]]) -> dict[tuple[str, int], tuple[Any, ...]]:
    found = asked("SELECT * FROM pair_verdicts", pairs, scores)
    return {(row["pair_id"], row["stage"]): (row["verdict"], row["rule"], row["image_id"]) for row in found}


def pair(pair_id: str, target: str, *references: str) -> dict[str, Any]:
    return {"pair_id": pair_id, "target_id": target, "reference_ids": list(references)}


def score(pair_id: str, value: float, version: str = VERSION) -> dict[str, Any]:
    return {"pair_id": pair_id, "version": version, "consistency": value}


NAMES = ("fine", "small", "same", "torn", "unmeasured", "unknown")
TARGETS = {"small": ("big", "small"), "unknown": ("big", "gone")}
PAIRS = [pair(name, *TARGETS.get(name, ("big_too", "big"))) for name in NAMES]
VALUES = {"fine": 0.9, "small": 0.9, "same": 1.0, "torn": 0.1, "unknown": 0.9}
SCORES = [score(name, value) for name, value in VALUES.items()] + [score("unmeasured", 0.9, "older")]


def test_a_pair_stands_and_falls_with_its_pictures_and_its_consistency() -> None:
    verdicts = judged(PAIRS, SCORES)
    assert len(verdicts) == len(NAMES) * 5
    assert {verdicts["fine", stage] for stage in range(2, 7)} == {("kept", None, None)}
    assert verdicts["small", 2] == ("kept", None, None)
    assert verdicts["small", 3] == ("dropped", "short_side", "small")
    assert verdicts["same", 2] == verdicts["torn", 2] == ("dropped", "pair_consistency", None)
    assert verdicts["unmeasured", 2] == ("unjudged", "pair_consistency", None)
    assert verdicts["unknown", 2] == ("unjudged", "image", None)


def test_every_pair_is_counted_once_a_stage() -> None:
    second, third, *_ = stages = count_pairs(asked(PAIR_COUNTS, PAIRS, SCORES), len(PAIRS))
    assert [stage.stage for stage in stages] == [2, 3, 4, 5, 6]
    unjudged = {"image": 1, "pair_consistency": 1}
    assert second == StagePairs(stage=2, pairs=6, kept=2, dropped={"pair_consistency": 2}, unjudged=unjudged)
    dropped = {"pair_consistency": 2, "short_side": 1}
    assert third == StagePairs(stage=3, pairs=6, kept=1, dropped=dropped, unjudged=unjudged)


def test_a_stage_that_loses_a_pair_is_refused_and_no_pairs_are_none() -> None:
    with pytest.raises(ConservationError, match="stage 2: 6 of 7 pairs"):
        count_pairs(asked(PAIR_COUNTS, PAIRS, SCORES), 7)
    assert [(stage.stage, stage.kept) for stage in count_pairs([], 0)] == [(n, 0) for n in range(2, 7)]
