import json
import os
import tarfile
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flywheel.errors import SourceError
from flywheel.records import Reason, SourceItem
from flywheel.workspace.storage import read_locator
from pipelines.sources import SourceLimits, open_source


def write(path: Path, data: bytes = b"x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def by_key(root: Path) -> dict[str | None, SourceItem]:
    items = list(open_source(str(root)))
    assert len({(item.uri, item.original_key) for item in items}) == len(items)
    return {item.original_key: item for item in items}


def test_every_file_is_an_item_in_a_fixed_order(tmp_path: Path) -> None:
    for name in ("b.jpg", "a.jpg", "sub/z.png", "sub/deep/y", "README.md", "Thumbs.db", ".hidden.jpg", ".git/x.jpg"):
        write(tmp_path / name)
    keys = [item.original_key for item in open_source(str(tmp_path))]
    assert keys == ["README.md", "Thumbs.db", "a.jpg", "b.jpg", "sub/z.png", "sub/deep/y"]


def test_an_item_is_referenced_not_read(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jpg", b"12345")
    (item,) = open_source(str(tmp_path))
    assert item.fingerprint == f"5-{path.stat().st_mtime_ns}"
    assert item.dataset == tmp_path.name
    assert (item.inline, item.copy) == (None, False)
    assert read_locator(item.locator) == b"12345"
    assert next(open_source(str(tmp_path), SourceLimits(dataset="mine"))).dataset == "mine"


def test_side_cars_give_caption_licence_and_metadata(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.jpg", "c.png"):
        write(tmp_path / name)
    write(tmp_path / "a.txt", b" a fox \n")
    write(
        tmp_path / "a.json", json.dumps({"caption": "no", "license": "CC0", "w": 3, "deep": {}, "nan": 1e999}).encode()
    )
    write(tmp_path / "b.jpg.json", b'{"text": "lone \\ud800 surrogate"}')
    write(tmp_path / "c.json", b"[" * 100_000)
    write(tmp_path / "orphan.txt", b"whose?")
    items = by_key(tmp_path)
    assert set(items) == {"a.jpg", "b.jpg", "c.png", "orphan.txt"}
    a = items["a.jpg"]
    assert (a.caption, a.licence, a.metadata_json) == ("a fox", "CC0", '{"w": 3}')
    assert items["b.jpg"].caption == "lone ? surrogate"
    assert items["c.png"].caption is None


def test_a_side_car_beyond_the_limit_is_not_read(tmp_path: Path) -> None:
    write(tmp_path / "a.jpg")
    write(tmp_path / "a.txt", b"x" * 100)
    (item,) = open_source(str(tmp_path), SourceLimits(max_sidecar_bytes=99))
    assert item.caption is None


def test_symlinks_stay_inside(tmp_path: Path) -> None:
    root = tmp_path / "root"
    write(root / "real/a.jpg", b"inside")
    write(tmp_path / "rootless/b.jpg", b"outside, though its path starts like the root's")
    links = {
        "in.jpg": "real/a.jpg",
        "out.jpg": "../rootless/b.jpg",
        "passwd.jpg": "/etc/passwd",
        "gone.jpg": "nowhere",
        "dir_in": "real",
        "dir_out": "../rootless",
        "loop": ".",
    }
    for name, target in links.items():
        (root / name).symlink_to(target)
    items = by_key(root)
    assert {key: item.refused for key, item in items.items()} == {
        "in.jpg": None,
        "real/a.jpg": None,
        "out.jpg": Reason.SYMLINK_OUT_OF_ROOT,
        "passwd.jpg": Reason.SYMLINK_OUT_OF_ROOT,
        "dir_out": Reason.SYMLINK_OUT_OF_ROOT,
        "gone.jpg": Reason.MISSING,
    }
    assert items["in.jpg"].uri == items["real/a.jpg"].uri


def test_a_root_that_is_itself_a_symlink_is_its_target(tmp_path: Path) -> None:
    write(tmp_path / "real/a.jpg")
    (tmp_path / "link").symlink_to("real")
    assert [i.uri for i in open_source(str(tmp_path / "link"))] == [i.uri for i in open_source(str(tmp_path / "real"))]


def test_a_pipe_is_counted_and_never_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.jpg")
    os.mkfifo(tmp_path / "b.tar")
    assert [item.refused for item in open_source(str(tmp_path))] == [Reason.NOT_AN_IMAGE] * 2


NAMES = st.binary(min_size=1, max_size=40).filter(
    lambda name: b"/" not in name and b"\0" not in name and not name.startswith(b".")
)


@given(names=st.sets(NAMES.map(lambda name: name + b".jpg"), max_size=8))
@settings(max_examples=40, deadline=None)
def test_any_name_can_be_read_again_by_its_uri(names: set[bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            with open(os.path.join(os.fsencode(folder), name), "wb") as handle:
                handle.write(name)
        items = list(open_source(folder))
        assert [read_locator(item.locator) for item in items] == sorted(names)
        pa.array([[item.uri, item.original_key, item.fingerprint] for item in items])


def test_listings_inside_a_folder_of_images_are_refused_with_a_hint(tmp_path: Path) -> None:
    write(tmp_path / "a.jpg")
    write(tmp_path / "metadata.jsonl", b'{"file_name": "a.jpg"}\n')
    refused = by_key(tmp_path)["metadata.jsonl"]
    assert refused.refused is Reason.NOT_AN_IMAGE
    assert "source of its own" in str(refused.detail)


def test_a_folder_of_parquet_parts_is_read_as_listings(tmp_path: Path) -> None:
    for part in range(2):
        table = pa.table({"url": [f"https://example.com/{part}.jpg"], "caption": [f"c{part}"]})
        (tmp_path / "data").mkdir(exist_ok=True)
        pq.write_table(table, tmp_path / f"data/train-{part}.parquet")
    write(tmp_path / "data/broken.parquet", b"PAR1 nonsense")
    items = list(open_source(str(tmp_path)))
    assert [item.refused for item in items] == [Reason.BAD_LISTING, None, None]
    assert [item.caption for item in items] == [None, "c0", "c1"]


def test_img2dataset_output_is_not_counted_twice(tmp_path: Path) -> None:
    rows = {
        "url": ["https://example.com/0.jpg", "https://example.com/1.jpg"],
        "key": ["000000000", "000000001"],
        "status": ["success", "failed_to_download"],
        "error_message": [None, "HTTP Error 404"],
    }
    files, parquet = tmp_path / "files", tmp_path / "parquet"
    write(files / "00000/000000000.jpg")
    write(files / "00000/000000000.txt", b"a caption")
    write(files / "00000_stats.json", b"{}")
    pq.write_table(pa.table(rows), files / "00000.parquet")
    write(parquet / "00000_stats.json", b"{}")
    pq.write_table(pa.table({**rows, "jpg": [b"bytes", None]}), parquet / "00000.parquet")
    shards = tmp_path / "shards"
    write(shards / "00000_stats.json", b"{}")
    pq.write_table(pa.table(rows), shards / "00000.parquet")
    with tarfile.open(shards / "00000.tar", "w") as tar:
        tar.add(files / "00000/000000000.jpg", "000000000.jpg")
    for folder, inline in ((files, None), (shards, None), (parquet, b"bytes")):
        items = list(open_source(str(folder)))
        good = [item for item in items if item.refused is None]
        bad = [item for item in items if item.refused is not None]
        assert [item.inline for item in good] == [inline]
        assert [(item.refused, item.detail) for item in bad] == [
            (Reason.MISSING, "img2dataset: failed_to_download: HTTP Error 404")
        ]


def test_what_cannot_be_listed_is_a_source_error(tmp_path: Path) -> None:
    for text in (str(tmp_path / "nothing"), "https://example.com/a.jpg"):
        with pytest.raises(SourceError):
            open_source(text)


def test_a_single_file_is_one_item(tmp_path: Path) -> None:
    write(tmp_path / "page.jpg", b"<html>not a picture</html>")
    (item,) = open_source(str(tmp_path / "page.jpg"))
    assert (item.original_key, item.dataset, item.refused) == ("page.jpg", "page.jpg", None)


@pytest.mark.parametrize("name", ["photos", "text_rich", "nasty"])
def test_real_folders(name: str) -> None:
    folder = Path(__file__).parents[2].parent / "shared/data" / name
    if not folder.is_dir():
        pytest.skip("the shared data folder does not lie beside the checkout")
    items = list(open_source(str(folder)))
    assert len(items) == len(list(folder.iterdir()))
    assert all(item.refused is None for item in items)


def test_a_workspace_inside_the_source_is_passed_over(tmp_path: Path) -> None:
    for name in ("a.jpg", "ws/flywheel.toml", "ws/tables/format.json", "ws/tables/images/part.parquet", "ws/own.jpg"):
        write(tmp_path / name)
    for name in ("half/flywheel.toml", "other/tables/format.json", "other/b.jpg"):  # neither is one
        write(tmp_path / name)
    keys = {item.original_key for item in open_source(str(tmp_path))}
    assert keys == {"a.jpg", "half/flywheel.toml", "other/b.jpg", "other/tables/format.json"}
    with pytest.raises(SourceError, match="is a workspace of Flywheel"):
        list(open_source(str(tmp_path / "ws")))
