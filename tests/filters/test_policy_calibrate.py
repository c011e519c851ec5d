"""Calibration: another scorer version, the same yield."""

from __future__ import annotations

from random import Random
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from filters.calibrate import calibration_sql, propose
from filters.policy import bundled, parse
from filters.rules import RULES
from flywheel.errors import PolicyError

VERSIONS = {"noise": "noise-2", "tone": "tone-1"}


def calibrated(images: int, change: Any) -> tuple[list[float], list[float], list[dict[str, Any]]]:
    chance = Random(1)
    old = [chance.uniform(0, 12) for _ in range(images)]
    new = [change(value) for value in old]
    with duckdb.connect(config={"threads": 1}) as connection:
        for name, values in (("old_scores", old), ("new_scores", new)):
            ids = [str(i) for i in range(images)]
            table = {"image_id": ids, "sigma": pa.array(values, pa.float64()), "domain": ["photo"] * images}
            connection.register(name, pa.table({**table, "width_px": [512] * images, "height_px": [512] * images}))
        sql = calibration_sql(bundled("full"), VERSIONS, "old_scores", "new_scores")
        return old, new, connection.sql(sql).to_arrow_table().to_pylist()


def test_new_thresholds_fail_as_many_images() -> None:
    old, new, rows = calibrated(500, lambda value: value**2 / 3 + 1)
    policy = bundled("full")
    proposed = parse(propose(policy, rows, VERSIONS))
    assert proposed.calibrated_for["noise"] == "noise-2"
    noise = RULES["noise"]
    for stage in noise.stages:
        before, after = policy.at(noise, "max", stage), proposed.at(noise, "max", stage)
        assert before is not None
        assert after is not None
        assert abs(sum(v > before for v in old) - sum(v > after for v in new)) <= 1
    unchanged = {name: value for name, value in proposed.rules.items() if name != "noise"}
    assert unchanged == {name: value for name, value in policy.rules.items() if name != "noise"}


def test_where_nothing_fails_the_margin_is_kept() -> None:
    _, new, rows = calibrated(200, lambda value: value / 100)
    strict = {**rows[0], "failing": [0, 0, 0], "cut": [None, None, None], "nearest_old": 5.0, "nearest_new": 0.05}
    text = propose(bundled("full"), [{**strict, "scale": 0.01}], VERSIONS)
    assert parse(text).rules["noise"].max == pytest.approx((0.09, 0.08, 0.07))
    assert len(new) == 200


def test_too_few_images_are_refused() -> None:
    _, _, rows = calibrated(10, lambda value: value)
    with pytest.raises(PolicyError, match="rule noise: 10 images"):
        propose(bundled("full"), rows, VERSIONS)
