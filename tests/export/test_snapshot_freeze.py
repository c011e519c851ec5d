"""Freezing a stage: content-hashed, once, and never with images that nobody judged."""

from __future__ import annotations

import json

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flywheel.errors import FlywheelError, UsageError
from flywheel.schemas import TABLES
from flywheel.workspace.maintain import pins
from pipelines.snapshot import content_of, freeze, list_snapshots

POLICY = "p" * 16


def test_freezing_twice_gives_one_snapshot(own_world) -> None:
    workspace = own_world.workspace
    first = freeze(workspace, 4, views=own_world.views, policy_id=POLICY)
    again = freeze(workspace, 4, views=own_world.views, policy_id=POLICY)
    assert (again.snapshot_id, again.images) == (first.snapshot_id, 9)
    assert first.run_id is not None
    assert again.run_id is None
    rows = workspace.query("SELECT * FROM snapshots ORDER BY image_id").to_pylist()
    assert [row["image_id"] for row in rows] == sorted(own_world.originals)
    assert {(row["stage"], row["weight"], row["caption_id"], row["resolution_px"]) for row in rows} == {
        (4, 1.0, None, 64)
    }
    run = workspace.query(f"SELECT * FROM runs WHERE run_id = '{first.run_id}'").to_pylist()[0]
    assert run["status"] == "finished"
    assert json.loads(run["counts"]) == {"in": 9, "kept": 9, "allowed": 0, "dropped": 0}


def test_the_event_pins_the_tables(own_world) -> None:
    workspace = own_world.workspace
    report = freeze(workspace, 2, views=own_world.views, policy_id=POLICY)
    event = workspace.query("SELECT * FROM snapshot_events").to_pylist()[0]
    detail = json.loads(event["detail_json"])
    assert (event["snapshot_id"], event["seq"], event["event"]) == (report.snapshot_id, 0, "frozen")
    assert (detail["policy_id"], detail["stage"], detail["images"], detail["allowed_unjudged"]) == (POLICY, 2, 9, [])
    pinned = pins(workspace)
    assert pinned["images"] == {detail["table_versions"]["images"]}
    frozen = workspace.tables.open("snapshots", detail["table_versions"]["snapshots"])
    assert len(frozen.to_pyarrow_table()) == 9


def test_unjudged_images_are_refused_with_the_words_that_allow_them(own_world) -> None:
    one, two, three = sorted(own_world.originals)[:3]
    views = own_world.views_with(
        **{one: ("unjudged", ["clip"]), two: ("unjudged", ["clip", "aesthetic"]), three: ("dropped", ["clip"])}
    )
    with pytest.raises(FlywheelError) as refused:
        freeze(own_world.workspace, 1, views=views, policy_id=POLICY)
    assert "2 unjudged images (clip 2, aesthetic 1)" in str(refused.value)
    assert "--allow-unjudged aesthetic,clip" in str(refused.value)
    assert refused.value.exit_code == 1
    with pytest.raises(FlywheelError, match="1 unjudged images"):
        freeze(own_world.workspace, 1, views=views, policy_id=POLICY, allow_unjudged=["clip"])
    report = freeze(own_world.workspace, 1, views=views, policy_id=POLICY, allow_unjudged=["clip", "aesthetic"])
    assert report.images == 8
    assert report.counts == {"in": 9, "kept": 6, "allowed": 2, "dropped": 1}
    held = own_world.workspace.query("SELECT image_id FROM snapshots")["image_id"].to_pylist()
    assert three not in held
    assert {one, two} <= set(held)


def test_wrong_words(own_world) -> None:
    with pytest.raises(UsageError, match="no rule beauty"):
        freeze(own_world.workspace, 1, views=own_world.views, policy_id=POLICY, allow_unjudged=["beauty"])
    with pytest.raises(UsageError, match="no stage 7"):
        freeze(own_world.workspace, 7, views=own_world.views, policy_id=POLICY)
    nothing = own_world.views_with(**{image: ("dropped", []) for image in own_world.originals})
    with pytest.raises(FlywheelError, match="nothing survives"):
        freeze(own_world.workspace, 1, views=nothing, policy_id=POLICY)


def test_rows_that_a_killed_freeze_left_are_replaced(own_world) -> None:
    workspace = own_world.workspace
    schema = TABLES["snapshots"].schema
    rows = workspace.query(
        "SELECT image_id, bucket, resolution_px, crop_loss FROM verdicts WHERE stage = 3", own_world.views
    )
    left = [row | {"stage": 3, "weight": 1.0, "caption_id": None} for row in rows.to_pylist()]
    snapshot_id = content_of(3, left)
    torn = pa.Table.from_pylist([row | {"snapshot_id": snapshot_id} for row in left], schema=schema)
    workspace.tables.append("snapshots", torn, run_id="killed")
    assert freeze(workspace, 3, views=own_world.views, policy_id=POLICY).snapshot_id == snapshot_id
    assert workspace.query("SELECT count(*) AS n FROM snapshots")["n"][0].as_py() == 9


def test_list_tells_the_newest_first(own_world) -> None:
    for stage in (1, 5):
        freeze(own_world.workspace, stage, views=own_world.views, policy_id=POLICY)
    told = list_snapshots(own_world.workspace)
    assert [row["stage"] for row in told] == [5, 1]
    assert {(row["images"], row["state"], row["policy_id"]) for row in told} == {(9, "frozen", POLICY)}


ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "image_id": st.text("0123456789abcdef", min_size=4, max_size=4),
            "bucket": st.sampled_from(["1:1", "2:3"]),
            "resolution_px": st.sampled_from([64, 128]),
            "weight": st.floats(0, 4),
            "caption_id": st.none() | st.text("abc", max_size=2),
        }
    ),
    unique_by=lambda row: row["image_id"],
    max_size=8,
)


@given(ROWS, st.randoms())
def test_the_id_is_the_content_whatever_the_order(rows, random) -> None:
    shuffled = list(rows)
    random.shuffle(shuffled)
    assert content_of(1, rows) == content_of(1, shuffled)
    assert content_of(1, rows) != content_of(2, rows)
    if rows:
        assert content_of(1, rows) != content_of(1, rows[1:])
        assert content_of(1, rows) != content_of(1, [rows[0] | {"bucket": "3:1"}, *rows[1:]])
