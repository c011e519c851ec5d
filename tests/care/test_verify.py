"""Verify: originals that vanished or changed are found; another source heals."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Mapping

from flywheel.seeds import content_id, source_id
from flywheel.workspace.storage import describe
from pipelines.originals import locator_of
from pipelines.verify import Verification, verify


def look(yard, sample: int = 0, full: bool = False) -> Verification:  # type: ignore[no-untyped-def]
    def silent(step: str, done: int, total: int | None, counts: Mapping[str, int]) -> None:
        assert total is None or done <= total

    return verify(yard.workspace, silent, sample=sample, full=full)


def test_untouched_originals_are_not_read(yard) -> None:  # type: ignore[no-untyped-def]
    yard.ingest(*[yard.original(f"{i}.png", b"bytes %d" % i) for i in range(4)])
    done = look(yard)
    assert (done.counts, done.read, done.findings) == ({"in": 4, "intact": 4}, 0, ())
    assert look(yard, sample=3).read == 3
    assert look(yard, full=True).read == 4


def test_vanished_and_changed_are_told_apart(yard) -> None:  # type: ignore[no-untyped-def]
    gone, longer, other, touched, _ = paths = [yard.original(f"{i}.png", b"bytes %d" % i) for i in range(5)]
    yard.ingest(*paths)
    gone.unlink()
    longer.write_bytes(b"bytes and more")
    other.write_bytes(b"BYTES 2")
    os.utime(touched, ns=(1, 1))
    done = look(yard)
    assert done.counts == {"in": 5, "intact": 2, "vanished": 1, "changed": 2}
    assert {finding.uri: finding.problem for finding in done.findings} == {
        gone.as_uri(): "vanished",
        longer.as_uri(): "changed",
        other.as_uri(): "changed",
    }


def test_a_silent_change_needs_a_full_look(yard) -> None:  # type: ignore[no-untyped-def]
    path = yard.original("a.png", b"before")
    stamp = path.stat()
    yard.ingest(path)
    path.write_bytes(b"BEFORE")
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert look(yard).counts == {"in": 1, "intact": 1}
    assert look(yard, full=True).counts == {"in": 1, "intact": 0, "changed": 1}


def test_another_source_heals(yard) -> None:  # type: ignore[no-untyped-def]
    lost, twin = yard.original("lost.png", b"same"), yard.original("twin.png", b"same")
    yard.ingest(lost, twin)
    lost.unlink()
    done = look(yard)
    assert done.counts == {"in": 1, "intact": 0, "re-pointed": 1}
    assert yard.workspace.query("SELECT uri FROM images").to_pylist() == [{"uri": twin.as_uri()}]
    assert look(yard).counts == {"in": 1, "intact": 1}


def test_a_member_of_a_tar_heals(yard) -> None:  # type: ignore[no-untyped-def]
    lost = yard.original("lost.png", b"same bytes")
    yard.ingest(lost)
    with tarfile.open(yard.originals / "set.tar", "w") as tar:
        tar.add(lost, "a b.png")
    with tarfile.open(yard.originals / "set.tar") as tar:
        member = tar.getmember("a b.png")
    uri = f"{(yard.originals / 'set.tar').as_uri()}#a%20b.png"
    stamp = f"{describe(uri.split('#')[0]).fingerprint}@{member.offset_data}+{member.size}"
    row = {"source_id": source_id(uri, stamp), "uri": uri, "fingerprint": stamp, "image_id": content_id(b"same bytes")}
    yard.add("sources", row)
    lost.unlink()
    assert look(yard).counts["re-pointed"] == 1
    [found] = yard.workspace.query("SELECT member, length FROM images").to_pylist()
    assert found == {"member": "a b.png", "length": 10}
    assert look(yard).counts == {"in": 1, "intact": 1}


def test_packs_are_looked_at(yard) -> None:  # type: ignore[no-untyped-def]
    yard.ingest(yard.original("a.png", b"a" * 700), yard.original("b.png", b"b"), copy=True)
    for path in yard.originals.iterdir():
        path.unlink()
    assert look(yard, full=True).counts == {"in": 2, "intact": 2}
    [pack] = yard.workspace.store.list("packs")
    os.truncate(yard.workspace.store.path_of(yard.workspace.store.relpath_of(pack.uri)), 100)
    assert look(yard).counts["changed"] == 2


def test_places_that_no_range_can_name() -> None:
    assert locator_of("https://example.org/a.png", "") is None
    assert locator_of("file:///table.parquet#row=3", "12-34") is None
