"""Buckets: the function and the SQL are one, and the crop they promise is real."""

from __future__ import annotations

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flywheel.buckets import BUCKETS, frame, framed_sql, resolution_px, resolution_sql

side = st.integers(1, 30_000)
SIZES = ((256,), (64,), (512, 1024), (512, 1024, 2048), (128, 256))


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(side, side), min_size=1, max_size=200))
def test_sql_equals_the_function(shapes: list[tuple[int, int]]) -> None:
    scores = pa.table({"width_px": [w for w, _ in shapes], "height_px": [h for _, h in shapes]})
    resolutions = ", ".join(f"{resolution_sql(sizes)} AS r{i}" for i, sizes in enumerate(SIZES))
    with duckdb.connect(config={"threads": 1}) as connection:
        connection.register("scores", scores)
        found = connection.sql(f"SELECT *, {resolutions} FROM ({framed_sql('scores')})").to_arrow_table().to_pylist()
    for row in found:
        width, height = row["width_px"], row["height_px"]
        own = frame(width, height)
        assert (row["bucket"], row["crop_loss"], row["cropped_px"]) == (own.bucket, own.crop_loss, own.cropped_px)
        assert [row[f"r{i}"] for i in range(len(SIZES))] == [resolution_px(width, height, sizes) for sizes in SIZES]


@given(side, side)
def test_no_other_bucket_loses_less(width: int, height: int) -> None:
    ratio = width / height
    losses = {name: 1 - min(ratio / target, target / ratio) for name, target in BUCKETS.items()}
    assert frame(width, height).crop_loss <= min(losses.values()) + 1e-12


@given(side, side)
def test_turning_the_image_turns_the_bucket(width: int, height: int) -> None:
    lying, standing = frame(width, height), frame(height, width)
    assert standing.crop_loss == pytest.approx(lying.crop_loss, abs=1e-9)
    assert standing.cropped_px == lying.cropped_px


def test_the_nine_buckets_lose_nothing_of_themselves() -> None:
    for name in BUCKETS:
        wide, high = map(int, name.split(":"))
        assert frame(wide * 144, high * 144).bucket == name
        assert frame(wide * 144, high * 144).crop_loss == pytest.approx(0)


@pytest.mark.parametrize(
    ("width", "height", "sizes", "expected"),
    [
        (4000, 3000, (512, 1024, 2048), 2048),
        (3072, 2047, (512, 1024, 2048), 1024),
        (1024, 1024, (512, 1024), 1024),
        (340, 256, (256,), 256),  # its 4:3 crop is 255 px: let in by the short-side rule, it trains at the least size
        (255, 800, (256,), None),
    ],
)
def test_resolution(width: int, height: int, sizes: tuple[int, ...], expected: int | None) -> None:
    assert resolution_px(width, height, sizes) == expected
