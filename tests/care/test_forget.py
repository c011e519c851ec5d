"""Forgetting: gone from rows, history, packs and reports; never back; complete after a kill."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from flywheel.errors import AnotherDriver, FlywheelError, UsageError
from flywheel.seeds import content_id
from flywheel.workspace import catalog, packs, runs
from pipelines import forget
from pipelines.chosen import fitting, named, with_duplicates
from pipelines.judging import judging_views

SECRET = "Wilhelmina-at-the-lake"


def filled(yard, *, copy: bool = False) -> tuple[str, str]:  # type: ignore[no-untyped-def]
    """Two images with everything that may hold them; returns the one to forget and the one that stays."""
    gone, stays = yard.original(f"{SECRET}.png", b"gone" * 400), yard.original("other.png", b"stays" * 300)
    yard.ingest(gone, stays, copy=copy, caption=lambda path: f"a caption of {path.stem}")
    a, b = content_id(gone.read_bytes()), content_id(stays.read_bytes())
    for step in ("measure.native", "duplicates"):
        yard.outcome(step, a, "ok")
        yard.outcome(step, b, "ok")
    low, high = sorted((a, b))
    yard.add("duplicate_edges", {"a": low, "b": high, "method_version": "0", "distance": 1, "proof": "x"})
    yard.add("duplicate_groups", {"image_id": a, "representative_id": b})
    for image, text in ((a, SECRET), (b, "fine")):
        yard.add("captions", {"caption_id": f"c{image}", "image_id": image, "text": text})
        yard.add("alignment", {"image_id": image, "caption_id": f"c{image}", "model_id": "m", "cosine": 0.5})
        yard.add("snapshots", {"snapshot_id": "s1", "image_id": image, "stage": 1})
    yard.add("pairs", {"pair_id": "p1", "reference_ids": [b, a], "target_id": b, "instruction": f"remove {SECRET}"})
    yard.add("pairs", {"pair_id": "p2", "reference_ids": [b], "target_id": b, "instruction": "nothing"})
    yard.add("pair_scores", {"pair_id": "p1", "version": "1", "consistency": 0.5})
    yard.add("snapshot_events", {"snapshot_id": "s1", "seq": 0, "event": "frozen", "detail_json": "{}"})
    folder = yard.workspace.path / "reports"
    folder.mkdir()
    for name, ids in (("with", [a, b]), ("without", [b])):
        (folder / f"{name}.html").write_text(f"<img alt='{SECRET if name == 'with' else ''}'>")
        (folder / f"{name}.ids.json").write_text(json.dumps(ids))
    (yard.workspace.path / "thumbnails").mkdir()
    (yard.workspace.path / "thumbnails" / f"{a}.jpg").write_bytes(b"small")
    return a, b


def run_forget(yard, *image_ids: str, why: str = "asked") -> list[dict]:  # type: ignore[no-untyped-def, type-arg]
    return forget.forget(yard.workspace, image_ids, judging_views(yard.workspace), actor="me", why=why)


def test_nothing_of_the_image_can_be_read_afterwards(yard) -> None:  # type: ignore[no-untyped-def]
    gone, stays = filled(yard)
    for name in ("sources", "captions", "outcomes"):
        yard.workspace.tables.open(name).optimize.compact()
    catalog.build(yard.workspace, judging_views(yard.workspace))
    assert yard.files_saying(SECRET)
    [receipt] = run_forget(yard, gone)
    assert yard.files_saying(SECRET) == []
    speaking = {Path(path).parts[0] for path in yard.files_saying(gone)}
    assert speaking <= {"tables", "receipts"}
    assert not [path for path in yard.files_saying(gone) if path.endswith(".parquet") and "tombstones" not in path]
    for table in ("images", "sources", "captions", "alignment", "snapshots", "score_tone"):
        assert yard.count(table) == 1, table
        assert yard.count(table, f"image_id = '{stays}'") == 1
    assert yard.count("pairs") == 1
    assert yard.count("pair_scores") == yard.count("duplicate_edges") == yard.count("duplicate_groups") == 0
    assert yard.count("outcomes") == 3
    assert yard.count("tombstones", f"image_id = '{gone}' AND why = 'asked'") == 1
    assert yard.count("snapshot_events", "event = 'amended' AND seq = 1") == 1
    assert sorted(os.listdir(yard.workspace.path / "reports")) == ["without.html", "without.ids.json"]
    assert receipt["removed"]["rows"]["captions"] == 1
    assert receipt["removed"]["thumbnails"] == 1
    assert receipt["remains"]["originals_with_their_owner"] == 1
    stored = (yard.workspace.path / "receipts" / f"{receipt['receipt_id']}.json").read_text()
    assert json.loads(stored) == receipt
    assert (yard.originals / f"{SECRET}.png").exists()


def test_versions_that_held_it_are_gone_and_others_whole(yard) -> None:  # type: ignore[no-untyped-def]
    other = yard.original("first.png", b"first" * 100)
    yard.ingest(other)
    before = yard.workspace.tables.versions()["images"]
    gone, _ = filled(yard)
    held = yard.workspace.tables.versions()["images"]
    run_forget(yard, gone)
    assert yard.workspace.tables.open("images", before).to_pyarrow_table().num_rows == 1
    with pytest.raises(Exception, match=r"(?i)not found|no such file"):
        yard.workspace.tables.open("images", held).to_pyarrow_table()


def test_rejected_sightings_of_the_same_place_go_too(yard) -> None:  # type: ignore[no-untyped-def]
    gone, _ = filled(yard)
    uri = yard.workspace.query(f"SELECT uri FROM sources WHERE image_id = '{gone}'")["uri"][0].as_py()
    yard.add("sources", {"source_id": "f" * 64, "uri": uri, "fingerprint": "cut off"})
    yard.outcome("ingest", "f" * 64, "rejected")
    run_forget(yard, gone)
    assert yard.files_saying(SECRET) == []
    assert yard.count("outcomes", f"subject_id = '{'f' * 64}'") == 0


def test_packs_are_rewritten_and_others_stay_readable(yard) -> None:  # type: ignore[no-untyped-def]
    gone, stays = filled(yard, copy=True)
    [receipt] = run_forget(yard, gone)
    [pack] = list(yard.workspace.store.list("packs"))
    assert packs.members(pack.uri).keys() == {stays}
    row = yard.workspace.query('SELECT uri, member, "offset", length FROM images').to_pylist()[0]
    assert row["uri"] == pack.uri
    data = yard.workspace.store.read_range(yard.workspace.store.relpath_of(row["uri"]), row["offset"], row["length"])
    assert content_id(data) == stays
    assert receipt["removed"]["packs"] == 1
    assert not yard.files_saying("gonegone")


def test_bytes_in_packs_that_nothing_refers_to_go_too(yard) -> None:  # type: ignore[no-untyped-def]
    gone, _ = filled(yard)
    packs.write_pack(yard.workspace.store, [(gone, b"gone" * 400, "png")])
    run_forget(yard, gone)
    assert list(yard.workspace.store.list("packs")) == []


def test_exports_that_hold_it_are_listed(yard, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    gone, stays = filled(yard)
    for name, ids in (("holds", [gone, stays]), ("clean", [stays]), ("away", None)):
        runs.start(yard.workspace, "export", detail={"to": str(tmp_path / name)}).end("finished", {})
        if ids is not None:
            (tmp_path / name).mkdir()
            (tmp_path / name / "manifest.json").write_text(json.dumps({"shards": [{"image_ids": ids}]}))
    [receipt] = run_forget(yard, gone)
    assert receipt["remains"]["exports"] == {str(tmp_path / "holds"): 1}
    assert receipt["remains"]["exports_unknown"] == [str(tmp_path / "away")]


def test_reports_elsewhere_are_listed(yard, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    gone, stays = filled(yard)
    inside = yard.workspace.path / "reports"
    places = [tmp_path / "holds.html", tmp_path / "clean.html", tmp_path / "away.html", inside / "with.html"]
    for page, ids in zip(places, ([gone, stays], [stays], None, None), strict=True):
        runs.start(yard.workspace, "report", detail={"to": page.as_uri()}).end("finished", {})
        if ids is not None:
            page.with_suffix(".ids.json").write_text(json.dumps(ids))
    told = forget.preview(yard.workspace, [gone])
    [receipt] = run_forget(yard, gone)
    assert receipt["remains"]["outside_reports"] == told["outside_reports"] == {places[0].as_uri(): 1}
    assert receipt["remains"]["outside_reports_unknown"] == [places[2].as_uri()]
    assert not (inside / "with.html").exists()


def test_dry_run_changes_nothing_and_tells_places(yard) -> None:  # type: ignore[no-untyped-def]
    gone, _ = filled(yard)
    versions, files = yard.workspace.tables.versions(), sorted(yard.workspace.path.rglob("*"))
    told = forget.preview(yard.workspace, [gone])
    assert told["rows"]["sources"] == 1
    assert SECRET in told["originals"][0]
    assert yard.workspace.tables.versions() == versions
    assert sorted(yard.workspace.path.rglob("*")) == files


def test_forgetting_again_is_harmless(yard) -> None:  # type: ignore[no-untyped-def]
    gone, _ = filled(yard)
    run_forget(yard, gone)
    [again] = run_forget(yard, gone)
    assert again["removed"] == {"rows": {}, "files": {}, "packs": 0, "thumbnails": 0, "reports": []}
    assert yard.count("tombstones") == 1
    assert yard.count("snapshot_events") == 2


def test_waits_for_nobody(yard) -> None:  # type: ignore[no-untyped-def]
    gone, _ = filled(yard)
    run = runs.start(yard.workspace, "ingest")
    with pytest.raises(AnotherDriver, match="ingest"):
        run_forget(yard, gone)
    run.end("finished", {})
    assert run_forget(yard, gone)


_KILLED = """
import os, signal, sys
from flywheel.workspace import Workspace, purge, catalog
from flywheel.workspace.tables import Tables
from flywheel.workspace.storage import Store
from pipelines import forget
from pipelines.judging import judging_views

left = int(sys.argv[3])
def dying(owner, name):
    plain = getattr(owner, name)
    def step(*args, **named):
        global left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return plain(*args, **named)
    setattr(owner, name, step)
for name in ("append", "delete_keys", "update_rows"):
    dying(Tables, name)
for name in ("delete", "write_new"):
    dying(Store, name)
workspace = Workspace.open(sys.argv[1])
forget.forget(workspace, [sys.argv[2]], judging_views(workspace), actor="me", why="asked")
"""


@pytest.mark.slow
def test_killed_before_any_write_it_is_completed_by_the_next(yard) -> None:  # type: ignore[no-untyped-def]
    gone, stays = filled(yard, copy=True)
    planned = forget.preview(yard.workspace, [gone])["rows"]
    point = deaths = 0
    while True:
        command = [sys.executable, "-c", _KILLED, str(yard.workspace.path), gone, str(point)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL, done.stderr
        deaths, point = deaths + 1, point + 1 if deaths < 3 else point + 3
    assert deaths >= 3
    assert forget.pending(yard.workspace) == []
    receipts = [json.loads(path.read_text()) for path in (yard.workspace.path / "receipts").glob("*.json")]
    assert any(receipt["removed"]["rows"] == planned for receipt in receipts)
    assert yard.files_saying(SECRET) == []
    assert yard.count("images") == 1
    assert yard.count("tombstones") == 1
    assert yard.count("snapshot_events") >= 2
    row = yard.workspace.query("SELECT image_id, uri FROM images").to_pylist()[0]
    assert row["image_id"] == stays
    assert packs.members(row["uri"]).keys() == {stays}


def test_the_first_next_forget_completes_what_a_failure_left(yard, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    gone, stays = filled(yard)

    def broken(*_: object) -> list[str]:
        raise FlywheelError("the disk is gone")

    with monkeypatch.context() as patched:
        patched.setattr(forget, "thumbnails_of", broken)
        with pytest.raises(FlywheelError, match="disk"):
            run_forget(yard, gone)
    assert len(forget.pending(yard.workspace)) == 1
    first, second = run_forget(yard, stays)
    assert (first["images"], second["images"]) == ([gone], [stays])
    assert first["removed"]["files"]["captions"] >= 1
    assert forget.pending(yard.workspace) == []


def test_images_are_named_by_id_start_place_and_condition(yard, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    gone, stays = filled(yard)
    place = yard.originals / f"{SECRET}.png"
    views = judging_views(yard.workspace)
    assert named(yard.workspace, [gone]) == named(yard.workspace, [gone[:8].upper()]) == [gone]
    assert named(yard.workspace, [str(place), place.as_uri()]) == [gone]
    monkeypatch.chdir(yard.originals)
    assert named(yard.workspace, [f"{SECRET}.png"]) == [gone]
    for wrong in (gone[:7], "nowhere.png", "http://example.org/x.png"):
        with pytest.raises(UsageError):
            named(yard.workspace, [wrong])
    assert fitting(yard.workspace, f"caption LIKE '%{SECRET}%'", views) == [gone]
    assert fitting(yard.workspace, "true", views) == sorted([gone, stays])
    with pytest.raises(UsageError, match="integer"):
        fitting(yard.workspace, "1", views)
    assert with_duplicates(yard.workspace, [gone]) == sorted([gone, stays])
    run_forget(yard, gone)
    assert named(yard.workspace, [gone[:10]]) == [gone]
