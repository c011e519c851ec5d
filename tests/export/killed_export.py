"""A child that exports and kills itself at its n-th call (of any Python or C function) after its first write.

Arguments: a JSON document with workspace, snapshot_id, to, format, shard_bytes, views, at_call (0: never;
the number of calls is printed).
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from types import FrameType

from flywheel.workspace import Workspace
from pipelines.export import export
from pipelines.export.journal import Journal


def main() -> None:
    job = json.loads(sys.argv[1])
    calls = 0
    first_write = Journal.begin.__code__

    def count(frame: FrameType, event: str, argument: object) -> None:
        nonlocal calls
        if event in ("call", "c_call") and (calls or frame.f_code is first_write):
            calls += 1
            if calls == job["at_call"]:
                os.kill(os.getpid(), signal.SIGKILL)

    workspace = Workspace.open(job["workspace"])
    threading.setprofile(count)
    sys.setprofile(count)
    export(
        workspace,
        job["snapshot_id"],
        job["to"],
        job["format"],
        views=job["views"],
        progress=lambda *_: None,
        shard_bytes=job["shard_bytes"],
    )
    sys.setprofile(None)
    sys.stdout.write(f"{calls}\n")


if __name__ == "__main__":
    main()
