"""Folders and tars: every picture is an example or is counted, and nothing outside is read."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest

from flywheel.errors import UsageError
from model.data.examples import offered


def put(root: Path, **files: str) -> None:
    for name, content in files.items():
        path = root / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


def test_a_folder_with_captions_beside_and_listed(tmp_path: Path) -> None:
    put(
        tmp_path,
        a_dot_png="A",
        a_dot_txt=" a star \n",
        sub__b_dot_JPG="B",
        sub__b_dot_txt="a ring",
        c_dot_webp="C",
        d_dot_png="D",
        d_dot_txt="  ",
    )
    put(tmp_path, before_dot_png="1", after_dot_png="2")
    lines = [
        {"image": "after.png", "prompt": "make it blue", "references": ["before.png"]},
        {"file_name": "gone.png", "text": "x"},
        {"image": "c.webp"},
    ]
    (tmp_path / "edits.jsonl").write_text("\n".join([*map(json.dumps, lines), "no json", ""]))
    found = offered(tmp_path)
    assert [(example.key, example.caption) for example in found.examples] == [
        ("a.png", "a star"),
        ("after.png+before.png", "make it blue"),
        ("sub/b.JPG", "a ring"),
    ]
    assert [one.read(99) for one in found.examples[1].references] == [b"1"]
    assert found.examples[1].image.read(99) == b"2"
    assert found.left_out == {"without a caption": 3, "file is missing": 1, "line that is no JSON object": 1}


def test_nothing_outside_the_folder_is_read(tmp_path: Path) -> None:
    put(tmp_path, secret_dot_png="S", secret_dot_txt="S", data__a_dot_png="A", data__a_dot_txt="a")
    root = tmp_path / "data"
    (root / "link.png").symlink_to(tmp_path / "secret.png")
    (root / "link.txt").write_text("a link")
    (root / "b.png").write_text("B")
    (root / "b.txt").symlink_to(tmp_path / "secret.txt")
    line = {"image": "../secret.png", "caption": "x"}
    (root / "more.jsonl").write_text(
        json.dumps(line) + "\n" + json.dumps({**line, "image": "a.png", "references": ["../secret.png"]})
    )
    found = offered(root)
    assert [example.key for example in found.examples] == ["a.png"]
    assert found.left_out == {"outside the folder": 3, "without a caption": 1}


def test_a_tar_is_read_in_place(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "d.tar", "w") as archive:
        for name, content in {"x/1.png": b"one", "x/1.txt": b"a star", "x/2.jpg": b"two", "x/3.txt": b"alone"}.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        link = tarfile.TarInfo("x/4.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    found = offered(tmp_path / "d.tar")
    assert [(example.key, example.caption, example.image.read(99)) for example in found.examples] == [
        ("x/1.png", "a star", b"one")
    ]
    assert found.left_out == {"without a caption": 1}


def test_refusals(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="neither a folder nor a tar"):
        offered(tmp_path / "none")
    with pytest.raises(UsageError, match="offers nothing to train on: no pictures"):
        offered(tmp_path)
    (tmp_path / "a.png").write_text("A")
    with pytest.raises(UsageError, match="offers nothing to train on: 1 without a caption"):
        offered(tmp_path)


def test_edits_in_a_tar(tmp_path: Path) -> None:
    line = {"edited_image": "new.png", "image": "old.png", "input_image": "old.png", "edit_prompt": "make it red"}
    with tarfile.open(tmp_path / "d.tar", "w") as archive:
        for name, content in {
            "e/old.png": b"old",
            "e/new.png": b"new",
            "e/all.jsonl": json.dumps(line).encode(),
        }.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    (example,) = offered(tmp_path / "d.tar").examples
    assert (example.image.read(9), example.caption) == (b"new", "make it red")
    assert [one.read(9) for one in example.references] == [b"old"]


def test_a_saved_data_set(tmp_path: Path) -> None:
    import datasets
    from PIL import Image

    def png(colour: str) -> bytes:
        held = io.BytesIO()
        Image.new("RGB", (4, 4), colour).save(held, "PNG")
        return held.getvalue()

    red, blue = png("red"), png("blue")
    rows = {
        "image": [{"bytes": red, "path": None}] * 3,
        "text": ["a red square", " ", "blue turned red"],
        "references": [None, None, [{"bytes": blue, "path": None}] * 2],
    }
    features = datasets.Features(
        {"image": datasets.Image(), "text": datasets.Value("string"), "references": datasets.List(datasets.Image())}
    )
    datasets.Dataset.from_dict(rows, features=features).save_to_disk(str(tmp_path / "d"))
    found = offered(tmp_path / "d")
    assert [(one.caption, one.image.read(10**6), len(one.references)) for one in found.examples] == [
        ("a red square", red, 0),
        ("blue turned red", red, 2),
    ]
    assert [one.read(10**6) for one in found.examples[1].references] == [blue, blue]
    assert found.left_out == {"without a caption": 1}
    untold = offered(tmp_path / "d", captioned=False)
    assert [one.caption for one in untold.examples] == ["a red square", "", "blue turned red"]
    assert not untold.left_out
