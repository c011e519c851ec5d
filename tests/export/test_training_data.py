"""A snapshot as training data: each caption of each image, with bytes that are held to their hash."""

from __future__ import annotations

import pytest

from flywheel.errors import UsageError
from pipelines.training import offered_by_snapshot


def test_every_caption_of_a_snapshot_is_an_example(world) -> None:
    snapshot = world.freeze()
    found = offered_by_snapshot(world.workspace, snapshot)
    told = world.workspace.query(
        'SELECT image_id, caption FROM sources WHERE caption IS NOT NULL UNION SELECT image_id, "text" FROM captions'
    ).to_pylist()
    assert sorted((one.image.image_id, one.caption) for one in found.examples) == sorted(
        (row["image_id"], row["caption"]) for row in told
    )
    assert len({one.key for one in found.examples}) == len(found.examples)
    untold = set(world.originals) - {row["image_id"] for row in told}
    assert found.left_out["without a caption"] == len(untold)
    for one in found.examples:
        assert one.image.read(10**7) == world.originals[one.image.image_id]


def test_without_captions_every_image_is_one(world) -> None:
    found = offered_by_snapshot(world.workspace, world.freeze(), captioned=False)
    assert sorted(one.image.image_id for one in found.examples) == sorted(world.originals)
    assert not found.left_out


def test_what_is_no_snapshot_is_refused(world) -> None:
    with pytest.raises(UsageError, match="no snapshot 'x'; see `flywheel snapshots`"):
        offered_by_snapshot(world.workspace, "x")
