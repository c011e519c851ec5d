import gzip
import io
import tarfile
import tempfile
from pathlib import Path

import pyarrow as pa
import pytest
import webdataset
from hypothesis import given, settings
from hypothesis import strategies as st

from flywheel.records import Reason, SourceItem
from flywheel.workspace.storage import read_locator
from pipelines.sources import SourceLimits, open_source


def tar_bytes(members: list[tuple[str, bytes]], form: int = tarfile.PAX_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as tar:
        for name, data in members:
            header = tarfile.TarInfo(name)
            header.size = len(data)
            tar.addfile(header, io.BytesIO(data))
    return out.getvalue()


def items_of(path: Path, data: bytes, **limits: int) -> list[SourceItem]:
    path.write_bytes(data)
    return list(open_source(str(path), SourceLimits(**limits)))


SAMPLES = [
    ("000.jpg", b"first"),
    ("000.txt", b"a caption"),
    ("000.json", b'{"caption": "other", "license": "CC0", "url": "https://example.com/0.jpg"}'),
    ("d/001.png", b"second"),
    ("d/001.json", b'{"text": "from json"}'),
]


@pytest.mark.parametrize("packed", [False, True])
def test_samples_come_with_key_caption_and_licence(tmp_path: Path, packed: bool) -> None:
    data = tar_bytes(SAMPLES)
    # The name says nothing: what it is, is sniffed.
    first, second = items_of(tmp_path / "shard.bin", gzip.compress(data) if packed else data)
    assert (first.original_key, first.caption, first.licence) == ("000", "a caption", "CC0")
    assert first.metadata_json == '{"url": "https://example.com/0.jpg"}'
    assert (second.original_key, second.caption) == ("d/001", "from json")
    assert second.uri.endswith("/shard.bin#d/001.png")
    for item, body in ((first, b"first"), (second, b"second")):
        assert item.copy is packed
        assert (item.inline if packed else read_locator(item.locator)) == body


def test_a_real_webdataset_shard(tmp_path: Path) -> None:
    path = str(tmp_path / "00000.tar")
    with webdataset.TarWriter(path) as sink:
        for number in range(3):
            sink.write({"__key__": f"{number:05d}", "jpg": bytes([number]) * 9, "txt": f"caption {number}"})
    items = list(open_source(str(tmp_path)))
    assert [item.caption for item in items] == ["caption 0", "caption 1", "caption 2"]
    assert [read_locator(item.locator) for item in items] == [bytes([number]) * 9 for number in range(3)]


def test_several_images_of_one_key_keep_their_own_captions(tmp_path: Path) -> None:
    members = [("a.0.jpg", b"0"), ("a.0.txt", b"zero"), ("a.1.jpg", b"1"), ("a.txt", b"shared")]
    items = items_of(tmp_path / "x.tar", tar_bytes(members))
    assert [(item.original_key, item.caption) for item in items] == [("a", "zero"), ("a", "shared")]


@pytest.mark.parametrize("name", ["../up.jpg", "/etc/passwd", "a/../../b.jpg", "..", "C:/x.jpg", "..\\up.jpg"])
def test_unsafe_names_are_refused(tmp_path: Path, name: str) -> None:
    bad, good = items_of(tmp_path / "x.tar", tar_bytes([(name, b"x"), ("good.jpg", b"y")]))
    assert (bad.refused, good.refused) == (Reason.UNSAFE_MEMBER_PATH, None)


def test_links_and_devices_are_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        for name, kind in (("a.jpg", tarfile.SYMTYPE), ("b.jpg", tarfile.LNKTYPE), ("c.jpg", tarfile.CHRTYPE)):
            header = tarfile.TarInfo(name)
            header.type, header.linkname = kind, "/etc/passwd"
            tar.addfile(header)
        tar.addfile(tarfile.TarInfo("folder/"))
    items = list(open_source(str(tmp_path / "x.tar")))
    assert [item.refused for item in items[:3]] == [Reason.UNSAFE_MEMBER_PATH] * 3


@pytest.mark.parametrize("packed", [False, True])
def test_a_broken_tail_keeps_what_came_before(tmp_path: Path, packed: bool) -> None:
    data = tar_bytes([(f"{n}.jpg", bytes([n]) * 1000) for n in range(4)], tarfile.USTAR_FORMAT)
    for cut in (1536 * 2 + 100, 1536 * 2 + 900, 1536 * 3):
        piece = data[:cut]
        items = items_of(tmp_path / "x.tar", gzip.compress(piece) if packed else piece)
        assert [item.refused for item in items] == [None] * (cut // 1536) + [Reason.TRUNCATED]
        assert "x.tar" in items[-1].uri
    damaged = bytearray(data)
    damaged[1536 * 2 : 1536 * 2 + 100] = b"\xff" * 100
    items = items_of(tmp_path / "x.tar", gzip.compress(damaged) if packed else bytes(damaged))
    assert [item.refused for item in items] == [None, None, Reason.TRUNCATED]


def test_a_cut_gz_stream_keeps_what_came_before(tmp_path: Path) -> None:
    data = gzip.compress(tar_bytes([(f"{n}.jpg", bytes(range(256)) * 2) for n in range(50)]), 0)
    items = items_of(tmp_path / "x.tgz", data[: len(data) // 2])
    assert len(items) > 10
    assert [item.refused for item in items if item.refused] == [Reason.TRUNCATED]


def test_a_gz_bomb_is_bounded(tmp_path: Path) -> None:
    data = gzip.compress(tar_bytes([("a.jpg", b"fine"), ("b.jpg", bytes(30 << 20)), ("c.jpg", b"never seen")]))
    items = items_of(tmp_path / "x.tgz", data, max_bytes=1 << 20, gz_grace_bytes=4 << 20)
    assert [item.refused for item in items] == [None, Reason.TOO_MANY_BYTES, Reason.TOO_MANY_BYTES]
    assert [item.inline for item in items] == [b"fine", None, None]


def test_an_extension_header_that_claims_gigabytes_is_not_read(tmp_path: Path) -> None:
    header = tarfile.TarInfo("x")
    header.type, header.size = tarfile.XHDTYPE, 5 << 30
    data = tar_bytes([("a.jpg", b"fine")])[:1024] + header.tobuf(tarfile.USTAR_FORMAT)
    assert [item.refused for item in items_of(tmp_path / "x.tar", data)] == [None, Reason.TRUNCATED]


@pytest.mark.parametrize("record", [b"0 path=b\n", b"99 path=b\n", b"x path=b\n", b"12 size=-10\n", b"path"])
def test_a_damaged_pax_header_ends_the_tar(tmp_path: Path, record: bytes) -> None:
    header = tarfile.TarInfo("x")
    header.type, header.size = tarfile.XHDTYPE, len(record)
    extension = header.tobuf(tarfile.USTAR_FORMAT) + record.ljust(512, b"\0")
    data = tar_bytes([("a.jpg", b"fine")])[:1024] + extension + tar_bytes([("b.jpg", b"x")])
    assert [item.refused for item in items_of(tmp_path / "x.tar", data)] == [None, Reason.TRUNCATED]


def test_a_long_sample_of_a_gz_tar_is_handed_out_in_parts(tmp_path: Path) -> None:
    data = gzip.compress(tar_bytes([("a.txt", b"first part only"), *((f"a.{n}.jpg", bytes(60)) for n in range(9))]))
    items = items_of(tmp_path / "x.tgz", data, max_bytes=100)
    assert [item.caption is not None for item in items] == [True, True, *[False] * 7]


def test_side_cars_without_an_image_are_counted(tmp_path: Path) -> None:
    items = items_of(tmp_path / "x.tar", tar_bytes([("a.txt", b"alone"), ("b.jpg", b"x"), ("._b.jpg", b"litter")]))
    assert [(item.original_key, item.refused) for item in items] == [("a", Reason.NOT_AN_IMAGE), ("b", None)]


def test_equal_names_in_one_tar_are_two_sightings(tmp_path: Path) -> None:
    one, two = items_of(tmp_path / "x.tar", tar_bytes([("a.jpg", b"1"), ("a.jpg", b"2")]))
    assert one.uri == two.uri
    assert one.fingerprint != two.fingerprint


def test_a_tar_without_members_has_no_items(tmp_path: Path) -> None:
    assert items_of(tmp_path / "x.tar", tar_bytes([])) == []


NAMES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=150)


@given(
    members=st.lists(st.tuples(NAMES, st.binary(max_size=1200)), max_size=6),
    form=st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]),
)
@settings(max_examples=60, deadline=None)
def test_any_member_name_is_counted_and_read_back(members: list[tuple[str, bytes]], form: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.tar"
        path.write_bytes(tar_bytes(members, form))
        items = list(open_source(str(path)))
        with tarfile.open(path) as tar:
            shown = [entry for entry in tar if not entry.name.rstrip("/").rsplit("/", 1)[-1].startswith(".")]
        sidecars = [entry for entry in shown if entry.name.lower().endswith((".txt", ".caption", ".json"))]
        assert len(shown) - len(sidecars) <= len(items) <= len(members)
        bodies = {entry.offset_data: entry.size for entry in shown}
        for item in items:
            if item.refused is None:
                assert bodies[item.locator.offset or 0] == item.locator.length == len(read_locator(item.locator))
        pa.array([[item.uri, item.original_key, item.locator.member] for item in items])


@given(cut=st.integers(0, 6000), flip=st.integers(0, 6000), byte=st.integers(0, 255))
@settings(max_examples=60, deadline=None)
def test_damage_anywhere_is_survived(cut: int, flip: int, byte: int) -> None:
    data = bytearray(tar_bytes(SAMPLES, tarfile.GNU_FORMAT))
    data[min(flip, len(data) - 1)] = byte
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.tar"
        path.write_bytes(data[: len(data) - cut])
        list(open_source(str(path)))
