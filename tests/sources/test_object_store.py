"""Every reader over an object store, played by moto on loopback."""

import gzip
import io
import json
import tarfile
from collections.abc import Iterator

import boto3
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from moto.server import ThreadedMotoServer

from flywheel.errors import SourceError
from flywheel.records import Reason
from flywheel.workspace.storage import Store, read_locator
from pipelines.sources import open_source


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
        boto3.client("s3", region_name="us-east-1").create_bucket(Bucket="flywheel-sources")
        yield "s3://flywheel-sources"
    server.stop()


def shard() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in (("a.jpg", b"picture"), ("a.txt", b"a fox")):
            header = tarfile.TarInfo(name)
            header.size = len(data)
            tar.addfile(header, io.BytesIO(data))
    return out.getvalue()


def test_a_prefix_is_a_folder(bucket: str) -> None:
    store = Store(f"{bucket}/my pictures")
    for name in ("b ü#?.jpg", "a.jpg", "sub/c.png", "sub/.hidden.jpg", ".git/x"):
        store.write_new(name, name.encode())
    store.write_new("a.txt", b"a fox")
    store.write_new("sub/shard.tar", shard())
    items = list(open_source(f"{bucket}/my pictures/"))
    assert [item.original_key for item in items] == ["a.jpg", "b ü#?.jpg", "sub/c.png", "a"]
    assert [item.caption for item in items] == ["a fox", None, None, "a fox"]
    assert [read_locator(item.locator) for item in items] == [b"a.jpg", "b ü#?.jpg".encode(), b"sub/c.png", b"picture"]
    assert all(item.uri.startswith(f"{bucket}/my%20pictures/") for item in items)
    assert {item.dataset for item in items} == {"my pictures"}
    assert items == list(open_source(f"{bucket}/my%20pictures"))


def test_tars_plain_and_gz(bucket: str) -> None:
    store = Store(f"{bucket}/tars")
    store.write_new("x.tar", shard())
    store.write_new("x.tgz", gzip.compress(shard()))
    (plain,) = open_source(f"{bucket}/tars/x.tar")
    (packed,) = open_source(f"{bucket}/tars/x.tgz")
    assert read_locator(plain.locator) == packed.inline == b"picture"
    assert plain.caption == packed.caption == "a fox"


def test_listings_reach_objects_and_never_this_machine(bucket: str) -> None:
    store = Store(f"{bucket}/lists")
    store.write_new("pics/a.jpg", b"123")
    places = ["pics/a.jpg", "../out.jpg", "/etc/passwd", "file:///etc/passwd", f"{bucket}/lists/pics/a.jpg", "gone.jpg"]
    store.write_new("x.jsonl", "".join(json.dumps({"path": place}) + "\n" for place in places).encode())
    items = list(open_source(f"{bucket}/lists/x.jsonl"))
    unsafe = Reason.UNSAFE_MEMBER_PATH
    assert [item.refused for item in items] == [None, unsafe, unsafe, unsafe, None, Reason.MISSING]
    assert read_locator(items[0].locator) == b"123"
    assert items[0].uri == items[4].uri
    out = io.BytesIO()
    pq.write_table(pa.table({"jpg": [b"inline"]}), out)
    store.write_new("y.parquet", out.getvalue())
    assert [item.inline for item in open_source(f"{bucket}/lists/y.parquet")] == [b"inline"]


def test_a_prefix_without_objects_is_a_source_error(bucket: str) -> None:
    for text in (f"{bucket}/nothing", "s3://no-such-bucket-here/x"):
        with pytest.raises(SourceError):
            open_source(text)


def test_a_workspace_under_the_prefix_is_passed_over(bucket: str) -> None:
    store = Store(f"{bucket}/mixed")
    for name in ("a.jpg", "ws/flywheel.toml", "ws/tables/format.json", "ws/packs/p.tar", "ws2/b.jpg"):
        store.write_new(name, b"x")
    assert [item.original_key for item in open_source(f"{bucket}/mixed")] == ["a.jpg", "ws2/b.jpg"]
    with pytest.raises(SourceError, match="is a workspace of Flywheel"):
        list(open_source(f"{bucket}/mixed/ws"))
