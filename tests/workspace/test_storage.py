import os
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from hypothesis import given
from hypothesis import strategies as st
from moto.server import ThreadedMotoServer

from flywheel.errors import SourceError, UsageError
from flywheel.records import Locator
from flywheel.workspace.packs import rewrite_without, write_pack
from flywheel.workspace.places import canonical_uri, file_uri, local_path
from flywheel.workspace.storage import Store, describe, describe_objects, read_locator


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.get_host_and_port()[1]}")
        patch.setenv("AWS_ACCESS_KEY_ID", "key")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        patch.setenv("AWS_REGION", "us-east-1")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        boto3.client("s3", region_name="us-east-1").create_bucket(Bucket="flywheel-storage")
        yield "s3://flywheel-storage"
    server.stop()


@pytest.fixture(params=["local", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "local":
        return Store(str(tmp_path))
    return Store(f"{request.getfixturevalue('bucket')}/{tmp_path.name} ü#1".replace("#", "%23"))


def test_one_interface_for_both_kinds(store: Store) -> None:
    assert not store.exists("a/b é#?%20.bin")
    store.write_new("a/b é#?%20.bin", b"0123456789")
    store.write_new("a/c.bin", (piece for piece in (b"in ", b"pieces")))
    assert store.exists("a/b é#?%20.bin")
    assert not store.exists("a")
    assert store.read("a/b é#?%20.bin") == b"0123456789"
    assert store.read_range("a/b é#?%20.bin", 3, 4) == b"3456"
    assert store.read("a/c.bin") == b"in pieces"
    assert [store.relpath_of(found.uri) for found in store.list("a")] == ["a/b é#?%20.bin", "a/c.bin"]
    assert [found.size for found in store.list()] == [10, 9]
    with store.open("a/c.bin") as stream:
        assert (stream.seek(3), stream.read(2)) == (3, b"pi")
    store.write_new("a/c.bin", b"replaced")
    assert store.read("a/c.bin") == b"replaced"
    store.delete("a/c.bin")
    assert not store.exists("a/c.bin")


def test_what_is_missing_is_file_not_found(store: Store) -> None:
    for act in (store.read, store.delete, store.open, lambda path: describe(store.uri_of(path))):
        with pytest.raises(FileNotFoundError):
            act("nothing/here")
    assert list(store.list("nothing")) == []


def test_an_object_beyond_the_budget_is_not_held(store: Store) -> None:
    store.write_new("large", b"x" * 5000)
    assert len(read_locator(Locator(uri=store.uri_of("large")), at_most=100)) == 101
    assert len(read_locator(Locator(uri=store.uri_of("large")), at_most=5000)) == 5000


def test_a_range_past_the_end_is_an_error(store: Store) -> None:
    store.write_new("short", b"12345")
    with pytest.raises(OSError, match=r"range|bounds|bytes"):
        store.read_range("short", 3, 10)


@pytest.mark.parametrize("relpath", ["../x", "/etc/passwd", "a/../../x", "", "a\0b"])
def test_a_relative_path_stays_inside(store: Store, relpath: str) -> None:
    with pytest.raises(ValueError, match="inside the store"):
        store.uri_of(relpath)


def test_packs_live_in_both_kinds(store: Store) -> None:
    items = [(digit * 64, digit.encode() * 700, "jpg") for digit in "abc"]
    placed = write_pack(store, items)
    assert [read_locator(placed[image_id]) for image_id, _, _ in items] == [data for _, data, _ in items]
    left = rewrite_without(store, placed["a" * 64].uri, {"b" * 64})
    assert read_locator(left["c" * 64]) == b"c" * 700


def test_many_objects_are_described_at_once(bucket: str) -> None:
    store = Store(f"{bucket}/many")
    store.write_new("x", b"12")
    found = describe_objects([store.uri_of("nothing"), store.uri_of("x"), store.root_uri])
    assert [(stored.size, stored.is_folder) if stored else None for stored in found] == [None, (2, False), (0, True)]


def test_a_writer_that_fails_leaves_nothing(store: Store, tmp_path: Path) -> None:
    def failing() -> Iterator[bytes]:
        yield b"half"
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        store.write_new("a.bin", failing())
    assert list(store.list()) == []
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_writer_left_is_not_listed_and_is_swept(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    store.write_new("a.bin", b"x")
    left = tmp_path / ".b.bin.0123.aside"
    left.write_bytes(b"half")
    assert [store.relpath_of(found.uri) for found in store.list()] == ["a.bin"]
    assert store.sweep(3600) == 0
    os.utime(left, (0, 0))
    assert store.sweep(3600) == 1
    assert not left.exists()


def test_a_named_pipe_is_refused_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(OSError, match="not a regular file"):
        read_locator(Locator(uri=file_uri(str(tmp_path / "pipe.jpg"))))


@pytest.mark.parametrize(
    "uri", ["http://127.0.0.1/a", "ftp://a/b", "/etc/passwd", "file://elsewhere/etc/passwd", "gs://b/k"]
)
def test_a_locator_of_another_kind_is_not_followed(uri: str) -> None:
    with pytest.raises(SourceError):
        read_locator(Locator(uri=uri))


def test_a_member_without_a_range_does_not_read_the_whole_tar(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="on its own"):
        read_locator(Locator(uri=file_uri(str(tmp_path / "x.tgz")), member="a.jpg"))


@given(st.lists(st.binary(min_size=1, max_size=20).filter(lambda b: b"/" not in b and b"\0" not in b), min_size=1))
def test_any_file_name_survives_its_uri(parts: list[bytes]) -> None:
    path = os.path.abspath(b"/" + b"/".join(parts))
    uri = file_uri(path)
    assert local_path(uri) == path
    assert canonical_uri(uri) == uri
    assert uri.isascii()
    assert canonical_uri(os.fsdecode(path)) == uri


@given(st.text(st.characters(exclude_characters="?#", exclude_categories=["Cs"]), max_size=30))
def test_canonical_object_uris_are_stable(key: str) -> None:
    once = canonical_uri(f"s3://bucket/{key}")
    assert canonical_uri(once) == once


@pytest.mark.parametrize(
    "text", ["s3://key:secret@bucket/x", "s3://bucket/x?endpoint_override=y", "s3://", "ftp://x/y"]
)
def test_places_that_cannot_be_stored_to_are_refused(text: str) -> None:
    with pytest.raises(UsageError):
        canonical_uri(text)
