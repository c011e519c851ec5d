"""A whole workspace in an object store: the same code, the same answers."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from flywheel.errors import UsageError
from flywheel.workspace.query import ask
from pipelines.engine import StepReport
from pipelines.executors import executor
from pipelines.filtering import judge
from pipelines.ingest import ingest
from pipelines.judging import init_workspace, judging_views, open_workspace
from pipelines.measure import measure


def silent(step: str, done: int, total: int | None, counts: object) -> None: ...


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
    import boto3
    from botocore.exceptions import EndpointConnectionError

    try:
        for _ in range(120):
            try:
                boto3.client("s3", region_name="us-east-1").create_bucket(Bucket="flywheel-test")
                break
            except EndpointConnectionError:
                time.sleep(0.5)
        yield "s3://flywheel-test"
    finally:
        server.kill()
        server.wait()


def test_a_workspace_and_its_source_in_an_object_store(bucket: str, few_images: Path, tmp_path: Path) -> None:
    import boto3

    client = boto3.client("s3", region_name="us-east-1")
    files = [file for file in sorted(few_images.iterdir()) if file.stat().st_size < 60_000][:8]
    for file in files:
        client.upload_file(str(file), "flywheel-test", f"incoming/{file.name}")

    def take_in(location: str, source: str, **options: bool) -> StepReport:
        workspace = init_workspace(location, "miniature")
        return ingest(workspace, [source], executor("local", 1), silent, **options)

    remote = take_in(f"{bucket}/ws", f"{bucket}/incoming", copy_all=True)
    folder = tmp_path / "incoming"
    folder.mkdir()
    for file in files:
        shutil.copy2(file, folder)
    local = take_in(str(tmp_path / "ws"), str(folder))
    assert remote.counts == local.counts
    far, near = open_workspace(f"{bucket}/ws"), open_workspace(str(tmp_path / "ws"))
    assert measure(far, "native", executor("local", 1), silent).counts.get("quarantined", 0) == 0
    question = "SELECT image_id, entropy_bits FROM scores ORDER BY 1"
    answers = [ask(workspace, question, judging_views(workspace)).rows.to_pylist() for workspace in (far, near)]
    assert answers[0] == answers[1]
    assert judge(far).images == len(answers[0])
    again = ingest(far, [f"{bucket}/incoming"], executor("local", 1), silent)
    assert again.run_id is None
    with pytest.raises(UsageError, match="local folder"):
        _ = far.path
