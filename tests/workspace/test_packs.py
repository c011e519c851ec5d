import tarfile
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flywheel.seeds import content_id
from flywheel.workspace.packs import members, rewrite_without, write_pack
from flywheel.workspace.storage import Store, read_locator

Items = list[tuple[str, bytes, str]]


def items_of(*bodies: bytes) -> Items:
    return [(content_id(body), body, "png") for body in bodies]


@given(bodies=st.lists(st.binary(max_size=2000), unique=True, max_size=12), limit=st.integers(4096, 20_000))
@settings(max_examples=40, deadline=None)
def test_what_goes_in_comes_out(bodies: list[bytes], limit: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = Store(folder)
        items = items_of(*bodies)
        placed = write_pack(store, items, limit)
        assert {image_id: read_locator(at) for image_id, at in placed.items()} == {i: b for i, b, _ in items}
        assert write_pack(store, items[::-1], limit) == placed
        packs = list(store.list("packs")) if items else []
        assert all(pack.size <= limit for pack in packs)
        assert {image_id: at for pack in packs for image_id, at in members(pack.uri).items()} == placed


def test_a_pack_is_named_by_its_bytes_and_is_a_tar(tmp_path: Path) -> None:
    write_pack(Store(str(tmp_path)), items_of(b"one", b"two"))
    (pack,) = tmp_path.glob("packs/*/*.tar")
    assert pack.stem == content_id(pack.read_bytes())
    assert pack.parent.name == pack.stem[:2]
    with tarfile.open(pack) as tar:
        assert tar.getnames() == sorted(f"{content_id(body)}.png" for body in (b"one", b"two"))
        assert {(entry.mtime, entry.uid, entry.gid, entry.uname) for entry in tar} == {(0, 0, 0, "")}


def test_the_same_items_are_not_written_again(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    write_pack(store, items_of(b"one"))
    (pack,) = tmp_path.glob("packs/*/*.tar")
    before = pack.stat()
    write_pack(store, items_of(b"one"))
    assert (pack.stat().st_mtime_ns, pack.stat().st_ino) == (before.st_mtime_ns, before.st_ino)


def test_forgetting_writes_the_new_pack_and_leaves_the_old(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    placed = write_pack(store, items_of(b"keep", b"forget", b"keep too"))
    old = next(iter(placed.values())).uri
    left = rewrite_without(store, old, {content_id(b"forget")})
    assert {read_locator(at) for at in left.values()} == {b"keep", b"keep too"}
    assert left == write_pack(store, items_of(b"keep", b"keep too"))
    assert store.exists(store.relpath_of(old))
    store.delete(store.relpath_of(old))
    assert b"forget" not in b"".join(path.read_bytes() for path in tmp_path.rglob("*.tar"))


def test_forgetting_nothing_or_everything(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    placed = write_pack(store, items_of(b"one", b"two"))
    pack = next(iter(placed.values())).uri
    assert rewrite_without(store, pack, {content_id(b"absent")}) == placed
    assert rewrite_without(store, pack, set(placed)) == {}


@pytest.mark.parametrize(
    ("image_id", "suffix"), [("../x", "png"), ("a" * 64, "../x"), ("A" * 64, "png"), ("a" * 64, "")]
)
def test_names_that_are_not_plain_are_refused(tmp_path: Path, image_id: str, suffix: str) -> None:
    with pytest.raises(ValueError, match="not a pack member"):
        write_pack(Store(str(tmp_path)), [(image_id, b"x", suffix)])


def test_an_item_that_no_pack_can_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="more than a pack"):
        write_pack(Store(str(tmp_path)), items_of(b"x" * 5000), 4096)
