import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flywheel.errors import SourceError
from flywheel.records import Reason, SourceItem
from flywheel.workspace.places import file_uri
from pipelines.sources import SourceLimits, open_source
from pipelines.sources.items import notes_from_fields


def jsonl(path: Path, *rows: object) -> list[SourceItem]:
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return list(open_source(str(path)))


def test_urls_with_caption_licence_and_the_rest_as_metadata(tmp_path: Path) -> None:
    row = {"URL": "https://example.com/a.jpg", "TEXT": "a fox", "licence": "CC0", "key": "k1", "w": 3, "nested": [1]}
    (item,) = jsonl(tmp_path / "laion.jsonl", row)
    assert item.uri == item.locator.uri == "https://example.com/a.jpg"
    assert (item.fingerprint, item.copy, item.dataset) == ("", True, "laion")
    assert (item.caption, item.licence, item.original_key) == ("a fox", "CC0", "k1")
    assert json.loads(item.metadata_json or "") == {"w": 3, "key": "k1"}


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "parquet"])
def test_every_kind_says_the_same(tmp_path: Path, kind: str) -> None:
    (tmp_path / "a b.jpg").write_bytes(b"123")
    rows = [("a b.jpg", 'says "hi",\tok'), ("gone.jpg", "x"), ("https://example.com/ü.jpg", "y")]
    path = tmp_path / f"list.{kind}"
    if kind == "jsonl":
        path.write_text("".join(json.dumps({"file_name": name, "caption": text}) + "\n" for name, text in rows))
    elif kind == "parquet":
        names = pa.array([name for name, _ in rows]).dictionary_encode()
        pq.write_table(pa.table({"file_name": names, "caption": [text for _, text in rows]}), path)
    else:
        comma = "," if kind == "csv" else "\t"
        quoted = [[f'"{cell.replace(chr(34), chr(34) * 2)}"' for cell in row] for row in rows]
        lines = [f"file_name{comma}caption", *(comma.join(row) for row in quoted)]
        path.write_text("\ufeff" + "\r\n".join(lines), encoding="utf-8")
    local, gone, remote = open_source(str(path))
    assert local.uri == file_uri(str((tmp_path / "a b.jpg").resolve()))
    assert (local.fingerprint.split("-")[0], local.refused) == ("3", None)
    assert local.caption == 'says "hi",\tok'
    assert gone.refused is Reason.MISSING
    assert (remote.uri, remote.copy) == ("https://example.com/ü.jpg", True)


def test_a_listing_cannot_climb_out_of_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (tmp_path / "out.jpg").write_bytes(b"x")
    (folder / "link.jpg").symlink_to("../out.jpg")
    (folder / "sub").mkdir()
    os.mkfifo(folder / "pipe.jpg")
    places = ["../out.jpg", "sub/../../out.jpg", "link.jpg", "sub", "pipe.jpg", str(tmp_path / "out.jpg")]
    places += ["ftp://x/y", "a\0b", "data:image/png;base64,xx", "file://host/x", "s3://k:s@b/x", "\ud800"]
    items = jsonl(folder / "list.jsonl", *({"path": place} for place in places))
    bad = Reason.BAD_LISTING
    assert [item.refused for item in items] == [
        Reason.UNSAFE_MEMBER_PATH,
        Reason.UNSAFE_MEMBER_PATH,
        Reason.SYMLINK_OUT_OF_ROOT,
        Reason.NOT_AN_IMAGE,
        Reason.NOT_AN_IMAGE,
        None,
        *[bad] * 6,
    ]
    assert len({item.uri for item in items}) == len(items)


def test_bad_lines_are_counted_with_their_number(tmp_path: Path) -> None:
    rows = [
        {"url": "https://e.com/1"},
        "{broken",
        "[1]",
        "",
        {"no": "place"},
        {"url": "https://e.com/2"},
        "[" * 100_000,
    ]
    items = jsonl(tmp_path / "x.jsonl", *rows)
    assert [item.refused is None for item in items] == [True, False, False, False, True, False]
    assert [str(item.detail).split(":")[0] for item in items if item.refused] == ["row 2", "row 3", "row 5", "row 7"]
    assert {item.refused for item in items} == {None, Reason.BAD_LISTING}


def test_a_line_without_end_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(b'{"url": "' + b"x" * 5000 + b'"}\n{"url": "https://e.com/2"}\n')
    items = list(open_source(str(path), SourceLimits(max_sidecar_bytes=1000)))
    assert [item.refused for item in items] == [Reason.BAD_LISTING, None]


def test_bad_csv_rows_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(
        b"url,caption\nhttps://e.com/1,a\nonly-one-cell\n,empty\nhttps://e.com/2,\xff\xfe\n" + b'"' + b"x" * 200_000
    )
    items = list(open_source(str(path)))
    assert [item.refused for item in items] == [None, Reason.BAD_LISTING, Reason.BAD_LISTING, None, Reason.BAD_LISTING]
    assert items[3].caption == "??"


def test_parquet_bytes_are_carried(tmp_path: Path) -> None:
    struct = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    cells = [
        {"bytes": b"img", "path": "orig.png"},
        {"bytes": None, "path": "side.jpg"},
        None,
        {"bytes": b"x" * 99, "path": None},
    ]
    table = pa.table({"image": pa.array(cells, struct), "caption": ["a", "b", "c", "d"], "emb": [[0.1]] * 4})
    pq.write_table(table, tmp_path / "x.parquet")
    (tmp_path / "side.jpg").write_bytes(b"side")
    items = list(open_source(str(tmp_path / "x.parquet"), SourceLimits(max_bytes=50)))
    first, second, third, fourth = items
    assert (first.inline, first.copy, first.original_key, first.caption) == (b"img", True, "orig.png", "a")
    assert second.uri == file_uri(str((tmp_path / "side.jpg").resolve()))
    assert (third.refused, fourth.refused) == (Reason.BAD_LISTING, Reason.TOO_MANY_BYTES)
    assert fourth.inline is None
    assert len({(item.uri, item.fingerprint) for item in items}) == 4


def test_columns_that_python_cannot_hold_lose_no_row(tmp_path: Path) -> None:
    far = 2**62
    broken_text = pa.array([b"ok", b"caf\xe9"], pa.binary()).cast(pa.large_binary())
    text = pa.Array.from_buffers(pa.large_string(), 2, broken_text.buffers())
    table = pa.table(
        {
            "url": ["https://e.com/1", "https://e.com/2"],
            "caption": text,
            "seen": pa.array([far, 1], pa.timestamp("ns")),
            "zoned": pa.array([1, 2], pa.timestamp("us", "Nowhere/Land")),
            "day": pa.array([2_000_000, 1], pa.date32()),
            "span": pa.array([1, 2], pa.duration("ns")),
        }
    )
    pq.write_table(table, tmp_path / "x.parquet")
    one, two = open_source(str(tmp_path / "x.parquet"))
    assert (one.caption, two.caption) == ("ok", "caf\ufffd")
    assert json.loads(two.metadata_json or "") == {
        "day": "1970-01-02",
        "seen": "1970-01-01 00:00:00.000000001",
        "zoned": "1970-01-01 00:00:00.000002",
    }


@pytest.mark.parametrize("name", ["jpg", "bytes", "IMAGE"])
def test_plain_bytes_columns(tmp_path: Path, name: str) -> None:
    pq.write_table(pa.table({name: pa.array([b"1", b"2"], pa.large_binary())}), tmp_path / "x.parquet")
    assert [item.inline for item in open_source(str(tmp_path / "x.parquet"))] == [b"1", b"2"]


@pytest.mark.parametrize(
    ("name", "data"), [("x.csv", b"a,b\n1,2\n"), ("x.parquet", b"PAR1garbage"), ("empty.csv", b"")]
)
def test_a_listing_that_names_no_images_is_a_source_error(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(SourceError):
        list(open_source(str(tmp_path / name)))


def test_a_listing_is_sniffed_not_believed(tmp_path: Path) -> None:
    (tmp_path / "list").write_bytes(b'{"url": "https://e.com/1"}\n')
    (tmp_path / "table.txt").write_bytes(b"id\turl\n1\thttps://e.com/2\n")
    assert next(open_source(str(tmp_path / "list"))).uri == "https://e.com/1"
    assert next(open_source(str(tmp_path / "table.txt"))).uri == "https://e.com/2"


VALUES = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(st.characters()), st.binary())


@given(st.dictionaries(st.text(st.characters()), VALUES))
def test_notes_can_always_be_stored(fields: dict[str, object]) -> None:
    notes = notes_from_fields(fields, SourceLimits())
    pa.array([notes.caption, notes.licence, notes.metadata_json, notes.key])
    json.loads(notes.metadata_json or "{}")


@pytest.mark.parametrize("end", ["\r", "\n", "\r\n"])
def test_lines_may_end_in_every_way(tmp_path: Path, end: str) -> None:
    (tmp_path / "a.jpg").write_bytes(b"x")
    lines = ["file_name,caption", 'a.jpg,"two\nlines"', "gone.jpg,b"]
    (tmp_path / "mac.csv").write_bytes(end.join(lines).encode())
    a, gone = open_source(str(tmp_path / "mac.csv"))
    assert (a.refused, a.caption) == (None, "two\nlines")
    assert (gone.refused, gone.caption) == (Reason.MISSING, "b")


def test_a_csv_line_that_is_too_long_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"x")
    long = "x" * 5_000
    (tmp_path / "l.csv").write_text(f"file_name,caption\rb.jpg,{long}\ra.jpg,fine\r")
    items = list(open_source(str(tmp_path / "l.csv"), SourceLimits(max_sidecar_bytes=1_000)))
    assert [item.caption for item in items] == ["fine"]


def test_a_header_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "h.csv").write_text("path," + "x" * 200_000 + "\na.jpg,b\n")
    with pytest.raises(SourceError, match="no readable header: field larger"):
        list(open_source(str(tmp_path / "h.csv")))
