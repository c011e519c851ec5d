"""What is forgotten after a snapshot or an export has read its images, and before its run starts, stays forgotten."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from flywheel.errors import FlywheelError
from flywheel.workspace import Workspace, runs
from pipelines.copies import exports_of
from pipelines.export import export
from pipelines.forget import forget
from pipelines.snapshot import freeze


@pytest.fixture
def forgetting_before_the_next_start(monkeypatch: pytest.MonkeyPatch) -> Callable[[Workspace, str], None]:
    start = runs.start

    def arrange(workspace: Workspace, image_id: str) -> None:
        def later(*arguments: object, **named: object) -> runs.Run:
            monkeypatch.setattr(runs, "start", start)
            forget(workspace, [image_id], {}, actor="me", why="asked")
            return start(*arguments, **named)  # type: ignore[arg-type]

        monkeypatch.setattr(runs, "start", later)

    return arrange


def test_no_snapshot_is_taken_of_it(own_world, forgetting_before_the_next_start) -> None:  # type: ignore[no-untyped-def]
    workspace, gone = own_world.workspace, min(own_world.originals)
    forgetting_before_the_next_start(workspace, gone)
    with pytest.raises(FlywheelError, match="start it again"):
        freeze(workspace, 4, views=own_world.views, policy_id="p" * 16)
    assert workspace.query("SELECT * FROM snapshots").num_rows == 0
    assert freeze(workspace, 4, views=own_world.views, policy_id="p" * 16).images == len(own_world.originals) - 1


def test_no_export_holds_it(own_world, forgetting_before_the_next_start, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    workspace, gone = own_world.workspace, min(own_world.originals)
    snapshot = own_world.freeze()
    forgetting_before_the_next_start(workspace, gone)
    to = str(tmp_path / "out")
    done = export(workspace, snapshot, to, "imagefolder", views=own_world.views, progress=lambda *_: None)
    assert done.counts["written"] == len(own_world.originals) - 1
    assert exports_of(workspace, [gone]).holding == {}
    assert not [path for path in (tmp_path / "out").rglob("*") if gone in path.name]
