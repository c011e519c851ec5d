"""Retracting a run: its rows go, rows of others stay, its sources can be ingested again."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flywheel.errors import AnotherDriver, FlywheelError, UsageError
from flywheel.seeds import content_id
from flywheel.workspace import runs
from pipelines import duplicates
from pipelines.retract import retract


def rows_of(yard, *tables: str) -> dict[str, list]:  # type: ignore[no-untyped-def, type-arg]
    return {name: sorted(map(str, yard.workspace.query(f"SELECT * FROM {name}").to_pylist())) for name in tables}


TABLES = ("images", "sources", "outcomes", "score_tone")


def test_takes_back_what_the_run_added_even_after_compaction(yard) -> None:  # type: ignore[no-untyped-def]
    first = [yard.original(f"a{i}.png", b"a%d" % i) for i in range(6)]
    second = [yard.original(f"b{i}.png", b"b%d" % i) for i in range(6)]
    yard.ingest(*first)
    before = rows_of(yard, *TABLES)
    run = yard.ingest(*second)
    after = rows_of(yard, *TABLES)
    for name in TABLES:
        yard.workspace.tables.compact(name)
    assert retract(yard.workspace, run, dry_run=True) == dict.fromkeys(TABLES, 6)
    assert rows_of(yard, *TABLES) == after
    assert retract(yard.workspace, run, dry_run=False) == dict.fromkeys(TABLES, 6)
    assert rows_of(yard, *TABLES) == before
    [status] = yard.workspace.query(f"SELECT status FROM runs WHERE run_id = '{run}'")["status"].to_pylist()
    assert status == "retracted"
    again = yard.ingest(*second)
    assert rows_of(yard, *TABLES) == after
    retract(yard.workspace, again, dry_run=False)
    assert rows_of(yard, *TABLES) == before


def test_an_image_that_another_source_shows_stays_with_its_scores(yard) -> None:  # type: ignore[no-untyped-def]
    mine, twin = yard.original("mine.png", b"same"), yard.original("twin.png", b"same")
    run = yard.ingest(mine, yard.original("alone.png", b"alone"))
    yard.ingest(twin)
    retract(yard.workspace, run, dry_run=False)
    [row] = yard.workspace.query("SELECT i.*, s.uri AS seen FROM images i JOIN sources s USING (source_id)").to_pylist()
    assert row["image_id"] == content_id(b"same")
    assert row["uri"] == row["seen"] == twin.as_uri()
    assert yard.count("score_tone") == yard.count("sources") == yard.count("outcomes") == 1


def test_a_copied_image_that_another_source_shows_keeps_its_pack(yard) -> None:  # type: ignore[no-untyped-def]
    run = yard.ingest(yard.original("mine.png", b"same"), copy=True)
    before = yard.workspace.query("SELECT uri FROM images").to_pylist()
    yard.ingest(yard.original("twin.png", b"same"))
    retract(yard.workspace, run, dry_run=False)
    assert yard.workspace.query("SELECT uri FROM images").to_pylist() == before
    assert yard.count("images JOIN sources USING (source_id)") == 1


def test_rows_that_a_later_run_wrote_anew_stay(yard) -> None:  # type: ignore[no-untyped-def]
    path = yard.original("a.png", b"a")
    run = yard.ingest(path)
    keys = yard.workspace.query("SELECT source_id FROM sources")
    row = yard.workspace.query("SELECT * FROM sources").to_pylist()[0]
    yard.workspace.tables.delete_keys("sources", keys, run_id="retry")
    yard.add("sources", row | {"caption": "of the retry"}, run_id="retry")
    retract(yard.workspace, run, dry_run=False)
    assert yard.workspace.query("SELECT caption FROM sources").to_pylist() == [{"caption": "of the retry"}]


def test_duplicates_of_what_goes_find_another_representative(yard) -> None:  # type: ignore[no-untyped-def]
    paths = [yard.original(f"{name}.png", name.encode() * 40) for name in ("large", "middle", "small")]
    large, middle, small = (content_id(path.read_bytes()) for path in paths)
    runs_made = [yard.ingest(path) for path in paths]
    for image, pixels in ((large, 300), (middle, 200), (small, 100)):
        sides = {"image_id": image, "width_px": pixels, "height_px": 1}
        yard.workspace.tables.update_rows("images", [sides], key="image_id", run_id="hand")
    for a, b in ((large, middle), (large, small), (middle, small)):
        low, high = sorted((a, b))
        edge = {"a": low, "b": high, "method_version": duplicates._version(), "distance": 1, "proof": "x"}
        yard.add("duplicate_edges", edge | {"proof_value": 1.0})
    duplicates.regroup(yard.workspace, "hand")
    assert yard.count("duplicate_groups", f"representative_id = '{large}'") == 2
    retract(yard.workspace, runs_made[0], dry_run=False)
    groups = yard.workspace.query("SELECT image_id, representative_id FROM duplicate_groups").to_pylist()
    assert groups == [{"image_id": small, "representative_id": middle}]


def test_refuses_unknown_retracted_and_running_runs(yard) -> None:  # type: ignore[no-untyped-def]
    run = yard.ingest(yard.original("a.png", b"a"))
    with pytest.raises(UsageError, match="no run"):
        retract(yard.workspace, "nonsense' OR 1=1", dry_run=False)
    driving = runs.start(yard.workspace, "measure.native")
    with pytest.raises(AnotherDriver, match=r"measure\.native"):
        retract(yard.workspace, run, dry_run=False)
    driving.end("finished", {})
    retract(yard.workspace, run, dry_run=False)
    with pytest.raises(UsageError, match="already"):
        retract(yard.workspace, run, dry_run=False)


def test_says_when_the_files_are_gone(yard) -> None:  # type: ignore[no-untyped-def]
    run = yard.ingest(*[yard.original(f"{i}.png", b"%d" % i) for i in range(10)])
    table = yard.workspace.tables.open("images")
    table.optimize.compact()
    table.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
    with pytest.raises(FlywheelError, match="flywheel forget"):
        retract(yard.workspace, run, dry_run=False)
    assert yard.count("images") == 10


@settings(deadline=None, max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(plan=st.lists(st.lists(st.integers(0, 4), min_size=1, max_size=3, unique=True), min_size=2, max_size=3))
def test_every_image_left_has_a_source_and_every_source_its_image(yard, plan: list[list[int]]) -> None:  # type: ignore[no-untyped-def]
    """Runs over overlapping contents; the first is retracted: references hold, nothing of the others is lost."""
    tag = yard.count("run_events")
    made = [[yard.original(f"{tag}-{n}-{k}.png", b"%d %d" % (tag, k)) for k in kinds] for n, kinds in enumerate(plan)]
    ids = [yard.ingest(*paths) for paths in made]
    retract(yard.workspace, ids[0], dry_run=False)
    left = {content_id(path.read_bytes()) for paths in made[1:] for path in paths}
    held = set(
        yard.workspace.query("SELECT images.image_id FROM images JOIN sources USING (source_id)")[
            "image_id"
        ].to_pylist()
    )
    assert left <= held
    assert yard.count("sources ANTI JOIN images USING (image_id)") == 0
    assert yard.count("images ANTI JOIN sources USING (source_id)") == 0
    for run in ids[1:]:
        retract(yard.workspace, run, dry_run=False)
    assert yard.count("images") == yard.count("sources") == yard.count("outcomes") == 0
