from __future__ import annotations

import os
import shutil
import tarfile
from pathlib import Path

import pytest
from PIL import Image, ImageDraw, ImageFont

from flywheel.records import Locator, Reason
from flywheel.seeds import content_id
from flywheel.workspace import Workspace
from pipelines.curate import curate
from pipelines.decoding import MeasureItem
from pipelines.engine import StepReport
from pipelines.executors import executor
from pipelines.ingest import ingest
from pipelines.judging import init_workspace, judging_views, open_workspace
from pipelines.measure import PASSES, measure
from pipelines.measure import plan as measuring
from pipelines.retry import Call, calls


def silent(step: str, done: int, total: int | None, counts: object) -> None: ...


def take_in(workspace: Workspace, *sources: str | Path, **options: object) -> StepReport:
    return ingest(workspace, [str(source) for source in sources], executor("local", 2), silent, **options)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def curated(few_images: Path, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    workspace = init_workspace(str(tmp_path_factory.mktemp("curated") / "ws"), "cpu")
    curate(workspace, [str(few_images)], executor("local", 2), silent)
    return workspace


def test_every_item_ends_in_exactly_one_way(curated: Workspace, few_images: Path) -> None:
    files = sum(1 for file in few_images.iterdir())
    rows = curated.query("SELECT status, count(*) AS n FROM outcomes WHERE step = 'ingest' GROUP BY 1").to_pylist()
    assert sum(row["n"] for row in rows) == files
    reasons = curated.query("SELECT DISTINCT reason FROM outcomes WHERE reason IS NOT NULL")["reason"].to_pylist()
    assert set(reasons) <= {reason.value for reason in Reason}
    assert {"truncated", "not_an_image"} <= set(reasons)
    keys = curated.query("SELECT count(*) AS n, count(DISTINCT image_id) AS d FROM images").to_pylist()[0]
    assert keys["n"] == keys["d"] > 15


def test_scores_are_there_once_for_every_image(curated: Workspace) -> None:
    images = curated.query("SELECT count(*) AS n FROM images")["n"][0].as_py()
    for name in ("tone", "phash", "jpeg", "orientation", "text_density", "domain"):
        row = curated.query(f"SELECT count(*) AS n, count(DISTINCT image_id) AS d FROM score_{name}").to_pylist()[0]
        assert row == {"n": images, "d": images}, name
    dropped_early = curated.query(
        "SELECT count(*) AS n FROM score_sharpness s JOIN verdicts v USING (image_id) "
        "WHERE v.stage = 1 AND v.verdict = 'dropped' AND v.rule <> 'duplicate'",
        judging_views(curated),
    )
    assert dropped_early["n"][0].as_py() == 0


def test_every_image_has_a_domain(curated: Workspace) -> None:
    domains = curated.query("SELECT domain, count(*) AS n FROM score_domain GROUP BY 1").to_pylist()
    assert {row["domain"] for row in domains} <= {"photo", "design", "poster", "slide", "diagram", "document"}
    assert "photo" in {row["domain"] for row in domains}


def test_a_second_time_nothing_is_new_and_no_pixel_is_read(
    curated: Workspace, few_images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import flywheel.images.sandbox as sandbox

    monkeypatch.setattr(sandbox.Sandbox, "run", lambda *_: pytest.fail("a child was asked"))
    versions = curated.tables.versions()
    report = curate(curated, [str(few_images)], executor("local", 2), silent)
    assert all(step.run_id is None for step in report.steps)
    assert curated.tables.versions() == versions


def test_the_same_bytes_elsewhere_are_known_and_a_touched_file_is_seen_again(
    curated: Workspace, few_images: Path, tmp_path: Path
) -> None:
    good = curated.query("SELECT uri FROM images ORDER BY bytes LIMIT 1")["uri"][0].as_py()
    shutil.copy(good.removeprefix("file://"), tmp_path / "copy.bin")
    report = take_in(curated, tmp_path)
    assert report.counts["known"] == 1
    assert report.counts["in"] == 1
    os.utime(tmp_path / "copy.bin", ns=(1, 1))
    again = take_in(curated, tmp_path)
    assert again.counts["known"] == 1
    assert again.run_id is not None


def test_overlapping_sources_are_counted_once_each_way(tmp_path: Path, few_images: Path) -> None:
    workspace = init_workspace(str(tmp_path / "ws"), "cpu")
    some = tmp_path / "some"
    some.mkdir()
    for file in sorted(few_images.iterdir())[:3]:
        shutil.copy2(file, some)
    report = take_in(workspace, some, some)
    assert report.counts["in"] == 6
    assert report.counts["known"] >= 3
    ended = workspace.query("SELECT count(*) AS n FROM outcomes WHERE step = 'ingest'")
    assert ended["n"][0].as_py() == 3


def test_a_retry_turns_quarantine_into_an_image(tmp_path: Path, few_images: Path) -> None:
    workspace = init_workspace(str(tmp_path / "ws"), "cpu")
    folder = tmp_path / "folder"
    folder.mkdir()
    picture = next(
        file for file in sorted(few_images.iterdir()) if file.suffix == ".jpg" and file.stat().st_size > 9_000
    )
    shutil.copy2(picture, folder / "a.jpg")
    config = (tmp_path / "ws/flywheel.toml").read_text()
    (tmp_path / "ws/flywheel.toml").write_text(config.replace("decode_s = 20.0", "decode_s = 0.000001"))
    first = take_in(open_workspace(workspace.uri), folder)
    assert first.counts == {"in": 1, "quarantined": 1, "quarantined:decoder_timed_out": 1}
    (tmp_path / "ws/flywheel.toml").write_text(config)
    mended = open_workspace(workspace.uri)
    assert take_in(mended, folder).counts["quarantined"] == 1  # not tried again unasked
    assert calls(mended) == [Call(folder.as_uri(), "folder", False)]
    assert take_in(mended, folder, retry=True).counts["new"] == 1
    assert mended.query("SELECT count(*) AS n FROM sources")["n"][0].as_py() == 1
    assert mended.query("SELECT count(*) AS n FROM rejects")["n"][0].as_py() == 0
    assert calls(mended) == []


def test_a_new_scorer_version_fills_only_what_is_missing(
    curated: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from dataclasses import replace

    from filters.scorers import SCORERS

    copy = tmp_path / "ws"
    shutil.copytree(curated.path, copy)
    workspace = open_workspace(str(copy))
    newer = replace(SCORERS["tone"], version="tone-99")
    monkeypatch.setitem(SCORERS, "tone", newer)
    images = workspace.query("SELECT count(*) AS n FROM images")["n"][0].as_py()
    report = measure(workspace, "scaled", executor("local", 2), silent)
    assert report.counts == {"in": images, "measured": images}
    rows = workspace.query("SELECT version, count(*) AS n FROM score_tone GROUP BY 1 ORDER BY 1").to_pylist()
    assert [row["n"] for row in rows] == [images, images]
    assert workspace.query("SELECT count(*) AS n FROM score_phash")["n"][0].as_py() == images


def test_a_vanished_original_is_a_quarantine_not_a_crash(tmp_path: Path, few_images: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    for file in sorted(few_images.iterdir())[:8]:
        shutil.copy2(file, folder)
    workspace = init_workspace(str(tmp_path / "ws"), "cpu")
    take_in(workspace, folder)
    for file in folder.iterdir():
        file.unlink()
    report = measure(workspace, "native", executor("local", 2), silent)
    assert report.counts["in"] == report.counts.get("quarantined", 0)
    assert report.counts.get("quarantined:content_changed", 0) == report.counts["in"]
    rows = workspace.query("SELECT DISTINCT reason FROM rejects WHERE step = 'measure.native'")["reason"].to_pylist()
    assert rows in ([], ["content_changed"])


def test_the_limits_of_a_child_come_from_the_configuration(tmp_path: Path) -> None:
    workspace = init_workspace(str(tmp_path / "ws"), "cpu")
    config = tmp_path / "ws/flywheel.toml"
    text = config.read_text().replace("child_memory_mb = 1400", "child_memory_mb = 700")
    config.write_text(text.replace("decode_s = 20.0", "decode_s = 2.0"))
    given = {}
    for name in PASSES:
        task = measuring(open_workspace(workspace.uri), PASSES[name], False).task
        assert task is not None
        given[name] = (task.memory_bytes, task.item_s)
    assert given == {"scaled": (700 << 20, 2.0), "native": (700 << 20, 3.0), "ocr": (1212 << 20, 12.0)}


@pytest.mark.slow
def test_a_page_of_64_megapixels_can_be_read_within_the_limits(tmp_path: Path) -> None:
    workspace = init_workspace(str(tmp_path / "ws"), "cpu")
    page = Image.new("RGB", (8_000, 8_000), "white")
    ImageDraw.Draw(page).text((400, 400), "A LARGE PAGE", "black", ImageFont.load_default(size=700))
    page.save(tmp_path / "page.png")
    data = (tmp_path / "page.png").read_bytes()
    place = Locator(uri=(tmp_path / "page.png").as_uri())
    item = MeasureItem(image_id=content_id(data), locator=place, scorers=("ocr",), attempt=1)
    task = measuring(workspace, PASSES["ocr"], False).task
    assert task is not None
    with task.sandbox() as sandbox:
        (answer,) = sandbox.run([item])
    assert "LARGE" in answer["ocr"]["text"]


def test_a_huge_member_of_a_tar_is_rejected_unread(tmp_path: Path) -> None:
    header = tarfile.TarInfo("huge.jpg")
    header.size = 3 << 30
    with (tmp_path / "sparse.tar").open("wb") as file:
        file.write(header.tobuf())
        file.truncate(512 + header.size + 1024)
    report = take_in(init_workspace(str(tmp_path / "ws"), "cpu"), tmp_path / "sparse.tar")
    assert report.counts == {"in": 1, "rejected": 1, "rejected:too_many_bytes": 1}


def test_copies_live_in_packs(tmp_path: Path, few_images: Path) -> None:
    workspace = init_workspace(str(tmp_path / "ws"), "cpu")
    folder = tmp_path / "folder"
    shutil.copytree(few_images, folder)
    report = take_in(workspace, folder, copy_all=True)
    assert measure(workspace, "scaled", executor("local", 1), silent).run_id is None
    uris = workspace.query("SELECT DISTINCT uri FROM images")["uri"].to_pylist()
    assert report.counts["new"] > 10
    assert all("/packs/" in uri for uri in uris)
    shutil.rmtree(folder)
    measured = measure(workspace, "native", executor("local", 1), silent)
    assert measured.counts.get("quarantined", 0) == 0
