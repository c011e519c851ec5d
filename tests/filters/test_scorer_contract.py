"""What every scorer promises: total, finite, deterministic, and exactly the columns of its table."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.scorers import SCORERS, measure_native, measure_scaled, measure_scores, names_reading, wide
from filters.scorers.domain import DOMAINS
from filters.scorers.planes import luma_of
from flywheel.images.views import RGB, LumaView, ScaledView
from flywheel.records import ImageFacts


def views(rgb: RGB) -> tuple[ScaledView, LumaView]:
    facts = ImageFacts(
        image_id="x",
        format="PNG",
        mode="RGB",
        width_px=rgb.shape[1],
        height_px=rgb.shape[0],
        exif_orientation=1,
        bytes=100,
    )
    return ScaledView(rgb=rgb, scale=1.0, facts=facts, jpeg_tables=None, had_alpha=False), LumaView(luma=luma_of(rgb))


@st.composite
def pictures(draw: st.DrawFn) -> RGB:
    height, width = draw(st.integers(1, 150)), draw(st.integers(1, 150))
    kind = draw(st.sampled_from(["constant", "noise", "checker", "ramp", "half"]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    if kind == "constant":
        return np.full((height, width, 3), draw(st.integers(0, 255)), np.uint8)
    if kind == "noise":
        return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    y, x = np.mgrid[:height, :width]
    pattern = {"checker": (x + y) % 2 * 255, "ramp": x * 255 // max(1, width - 1), "half": (x * 2 < width) * 255}[kind]
    return np.repeat(pattern.astype(np.uint8)[..., None], 3, axis=2)


def check(name: str, row: dict[str, Any]) -> None:
    schema = SCORERS[name].table.schema
    assert set(row) == set(SCORERS[name].columns)
    for column, value in row.items():
        if isinstance(value, float):
            assert math.isfinite(value), (name, column, value)
        pa.array([value], schema.field(column).type)


@settings(max_examples=60, deadline=None)
@given(rgb=pictures())
@pytest.mark.parametrize("name", names_reading("scaled") + names_reading("native"))
def test_any_picture_gives_finite_rows_that_fit_the_table(name: str, rgb: RGB) -> None:
    scaled, native = views(rgb)
    row, again = (
        (
            measure_scaled(scaled, [name])[name]
            if SCORERS[name].reads == "scaled"
            else measure_native(native, [name])[name]
        )
        for _ in range(2)
    )
    check(name, row)
    assert row == again


@settings(max_examples=60, deadline=None)
@given(rgb=pictures(), words=st.none() | st.integers(0, 500), area=st.floats(0, 1))
def test_domain_is_one_of_six_with_or_without_reading(rgb: RGB, words: int | None, area: float) -> None:
    scores = {**wide(measure_scaled(views(rgb)[0])), "words": words, "text_area": area if words is not None else None}
    row = measure_scores(scores)["domain"]
    check("domain", row)
    assert row["domain"] in DOMAINS
    assert row["with_ocr"] == int(words is not None)


def test_domain_abstains_without_tone() -> None:
    assert set(measure_scores({})["domain"].values()) == {None}


def test_columns_are_unique_across_scorers() -> None:
    columns = [column for scorer in SCORERS.values() for column in scorer.columns]
    assert len(columns) == len(set(columns))


def test_registry_names_tables_and_versions() -> None:
    for name, scorer in SCORERS.items():
        assert scorer.name == name
        assert scorer.table.name == f"score_{name}"
        assert (scorer.measure is None) == (scorer.reads == "model") == (scorer.version == "")
        assert scorer.reads == "model" or scorer.version.startswith(f"{name}-")
