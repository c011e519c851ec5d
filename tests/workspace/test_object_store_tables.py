"""Tables in an object store: the same fences, and questions about them."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import boto3
import pyarrow as pa
import pytest
from botocore.exceptions import EndpointConnectionError
from deltalake.exceptions import CommitFailedError

from flywheel.errors import QueryFailed
from flywheel.workspace import Workspace, compaction, runs
from flywheel.workspace.query import ask, policy_text_at, versions_at
from flywheel.workspace.storage import Store


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A store in a process of its own: delta-rs may hold the interpreter while it waits for an answer."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = ["-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", *address], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ALLOW_HTTP": "true",
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
    }.items():
        monkeypatch.setenv(name, value)
    try:
        for _ in range(120):
            try:
                boto3.client("s3", region_name="us-east-1").create_bucket(Bucket="flywheel-tables")
                break
            except EndpointConnectionError:
                time.sleep(0.5)
        yield "s3://flywheel-tables"
    finally:
        server.kill()
        server.wait()


@pytest.mark.slow
def test_a_workspace_in_an_object_store(bucket: str, outcomes: Callable[..., pa.Table]) -> None:
    made = Workspace.init(f"{bucket}/a place")
    run = runs.start(made, "ingest")
    run.end("finished", {})
    for number in range(10):
        made.tables.append("outcomes", outcomes(f"s{number}"), run_id="r")
    first, second = (made.tables.open("outcomes") for _ in range(2))
    store = Store(f"{made.uri}/tables")
    assert compaction.compact(first, store, "outcomes")
    with pytest.raises(CommitFailedError):
        compaction.compact(second, store, "outcomes")
    assert made.tables.delete_keys("outcomes", pa.table({"subject_id": ["s3"]}), run_id="x") == 1

    made.store.write_new("views/kept.sql", b"SELECT subject_id FROM outcomes WHERE status = 'ok'")
    made.store.write_new("views/images.sql", b"SELECT 1 AS x")
    count = "SELECT count(*) AS n, count(DISTINCT subject_id) AS d FROM kept"
    assert ask(made, count, {}).rows.to_pylist() == [{"n": 9, "d": 9}]
    assert [told.split(":")[0] for told in ask(made, "SELECT * FROM images", {}).left_out] == ["views/images.sql"]

    then = versions_at(made, run.run_id)
    assert ask(made, count, {}, then).rows.to_pylist() == [{"n": 0, "d": 0}]
    assert policy_text_at(made, then) is None
    made.tables.open("outcomes").vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
    with pytest.raises(QueryFailed, match="table outcomes of that time is gone"):
        ask(made, count, {}, {**then, "outcomes": 5})
