"""The report as files: side-car, pictures, vanished originals, the command, and what a browser makes of it."""

from __future__ import annotations

import base64
import io
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner

import flywheel.cli
from dashboards import report as report_module
from dashboards import thumbnails
from dashboards.report import Page, build, place, short_place, write_report
from dashboards.report_data import overview
from filters.policy import bundled
from flywheel.cli.app import app
from flywheel.errors import UsageError
from flywheel.workspace import runs
from flywheel.workspace.places import file_uri
from pipelines.copies import reports_about
from pipelines.judging import init_workspace, judging_views


def _ids(read: Any, html: str) -> set[str]:
    return {element.attributes["data-image-id"] for element in read(html).having("data-image-id")}


def test_side_car_lists_whom_the_page_shows(read: Any, shop: Any, tmp_path: Path) -> None:
    written = write_report(shop.workspace, shop.policy, shop.views)
    folder = shop.workspace.path / "reports"
    page, listed = (folder / "report.html").read_text(), json.loads((folder / "report.ids.json").read_text())
    assert listed == sorted(listed)
    assert set(listed) == _ids(read, page) == set(shop.ids)
    assert written.images == len(listed)
    assert written.bytes == len(page.encode())
    assert reports_about(shop.workspace, {shop.ids[0]}) == ["reports/report.html", "reports/report.ids.json"]
    assert write_report(shop.workspace, shop.policy, shop.views, str(tmp_path / "odd name.html")).ids.endswith(
        "odd%20name.ids.json"
    )
    assert (tmp_path / "odd name.ids.json").exists()


def test_equal_tables_give_an_equal_page(shop: Any, seen: Any, html: str) -> None:
    assert shop.page().html.replace(place(shop.workspace.uri), place(seen.workspace.uri)) == html


def test_that_a_page_was_drawn_is_no_news(shop: Any) -> None:
    before = overview(shop.workspace)
    runs.start(shop.workspace, "report").end("finished", {})
    assert overview(shop.workspace) == before
    runs.start(shop.workspace, "filter").end("finished", {})
    assert overview(shop.workspace) != before


def test_pictures_are_small_jpegs(read: Any, html: str) -> None:
    images = [element for element in read(html).elements if element.tag == "img"]
    assert images
    for element in images:
        with Image.open(io.BytesIO(base64.b64decode(element.attributes["src"].partition(",")[2]))) as opened:
            assert opened.format == "JPEG"
            assert max(opened.size) <= 160


def test_an_original_that_vanished_or_changed_is_no_picture(new_shop: Any) -> None:
    shop = new_shop
    (shop.originals / "plain 3.png").unlink()
    shutil.copy(shop.originals / "plain 5.png", shop.originals / "plain 6.png")
    html = shop.page().html
    for image_id, told in ((shop.ids[3], "the original is gone"), (shop.ids[6], "the original holds other bytes now")):
        tiles = html.split(f'data-image-id="{image_id}"')[1:]
        assert tiles
        assert all(told in tile.split("</figure>")[0] and "<img" not in tile.split("</figure>")[0] for tile in tiles)


def test_only_ingested_images_are_opened(shop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []

    def none(wanted: Any, budgets: Any) -> dict[str, bytes]:
        opened.extend(item.locator.uri for item in wanted)
        return {item.image_id: b"jpeg" for item in wanted}

    monkeypatch.setattr(thumbnails, "thumbnails", none)
    shop.page()
    assert set(opened) == {row["uri"] for row in shop.ask("SELECT uri FROM images")}


def test_a_full_page_names_what_it_no_longer_shows(read: Any, shop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_module, "PICTURE_BYTES", 10_000)
    page = shop.page()
    assert "the page is full" in page.html
    assert sum(len(e.attributes["src"]) for e in read(page.html).elements if e.tag == "img") < 11_000
    assert set(page.image_ids) == _ids(read, page.html)


def test_where_nothing_can_be_kept_yet_the_page_says_why(shop: Any) -> None:
    shop.policy = bundled("miniature")
    html = shop.page().html
    assert "Still in at stage" in html
    assert "nothing is kept before nsfw" in html


def test_an_empty_workspace_says_so(read: Any, tmp_path: Path) -> None:
    workspace = init_workspace(str(tmp_path / "empty"), "cpu")
    page = build(workspace, bundled("cpu"), judging_views(workspace, bundled("cpu")))
    assert "There is no image in this workspace yet" in page.html
    assert page.image_ids == ()
    read(page.html)


def test_an_object_store_needs_a_place(shop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shop.workspace, "is_local", False)
    with pytest.raises(UsageError, match="--to"):
        write_report(shop.workspace, shop.policy, {})


def test_a_report_is_a_web_page(shop: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"\.html"):
        write_report(shop.workspace, shop.policy, shop.views, str(tmp_path / "report.pdf"))


@pytest.mark.parametrize("to", ["file/r.html", "/proc/r.html", "folder.html", "file.html/deep/r.html"])
def test_a_place_that_takes_no_page_is_told_in_one_line(
    shop: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], to: str
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "file.html").touch()
    (tmp_path / "folder.html").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(report_module, "build", lambda *_: Page(html="<p>", image_ids=()))
    monkeypatch.setattr(sys, "argv", ["flywheel", "report", "-w", str(shop.workspace.path), "--to", to])
    with pytest.raises(SystemExit) as ended:
        flywheel.cli.main()
    told = capsys.readouterr()
    assert (ended.value.code, told.out) == (1, "")
    assert told.err.startswith(f"flywheel: cannot write {Path(to).absolute()}: ")
    assert told.err.count("\n") == 1
    assert "give --to a file" in told.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "file.html", "folder.html", "ws"]


def test_a_page_at_the_root_and_no_page_in_place_of_a_bucket(shop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    monkeypatch.setattr(report_module, "build", lambda *_: Page(html="<p>", image_ids=()))
    monkeypatch.setattr(report_module, "_write", lambda store, name, page: written.append(store.path_of(name)))
    assert write_report(shop.workspace, shop.policy, {}, "/r.html").report == "file:///r.html"
    assert written == ["/r.html"]
    with pytest.raises(UsageError, match="is a bucket"):
        write_report(shop.workspace, shop.policy, {}, "s3://bucket.html")


def test_places_are_read_by_people() -> None:
    assert place("file:///a%20b/%E2%80%AEc.png") == "/a b/\N{REPLACEMENT CHARACTER}c.png"
    assert place("s3://bucket/a%3Cb") == "s3://bucket/a<b"
    assert short_place("file:///" + "x" * 100 + "/end.png").endswith("/end.png")
    assert len(short_place("file:///" + "x" * 100)) == 44


def test_the_command_says_where_the_page_is(shop: Any, tmp_path: Path) -> None:
    target = tmp_path / "out" / "mine.html"
    done = CliRunner().invoke(app, ["report", "-w", str(shop.workspace.path), "--to", str(target), "--json"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.output)
    assert told["report"] == file_uri(str(target))
    assert told["images"] == 12
    assert target.exists()
    assert target.with_name("mine.ids.json").exists()


@pytest.mark.slow
def test_a_browser_shows_it(shop: Any, tmp_path: Path) -> None:
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no Chromium is installed")
    write_report(shop.workspace, shop.policy, shop.views, str(tmp_path / "report.html"))
    quiet = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
        "--disable-sync",
        "--no-first-run",
    ]
    shot = tmp_path / "shot.png"
    subprocess.run(
        [
            browser,
            *quiet,
            f"--user-data-dir={tmp_path / 'profile'}",
            "--window-size=1400,2600",
            f"--screenshot={shot}",
            (tmp_path / "report.html").as_uri(),
        ],
        check=True,
        capture_output=True,
        timeout=120,
    )
    with Image.open(shot) as seen:
        assert seen.size == (1400, 2600)
        colours = {colour for _, colour in seen.convert("RGB").getcolors(1 << 24) or []}
    assert (0, 114, 178) in colours, "the bars of what is kept"
    assert len(colours) > 500
