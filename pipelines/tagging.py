"""Tags: labels that people give images."""

from __future__ import annotations

import getpass
from collections.abc import Sequence
from datetime import UTC, datetime

import pyarrow as pa

from flywheel.errors import UsageError
from flywheel.schemas import TABLES
from flywheel.workspace import Workspace, runs

STEP = "tag"
_LONGEST = 100  # signs; our choice


def tags(workspace: Workspace) -> dict[str, int]:
    """How many images have each tag."""
    rows = workspace.query("SELECT tag, count(*) AS n FROM tags GROUP BY 1 ORDER BY 1").to_pylist()
    return {row["tag"]: row["n"] for row in rows}


def tagged(workspace: Workspace, tag: str, image_ids: Sequence[str], *, remove: bool = False) -> int:
    """Tag images, or take the tag away; how many changed. Images that are not here are passed over.

    Raises UsageError for a tag that is empty, too long, or has control characters.
    """
    if not tag.strip() or len(tag) > _LONGEST or not tag.isprintable():
        raise UsageError(f"a tag is 1 to {_LONGEST} printable signs")
    wanted = pa.table({"id": pa.array(sorted(set(image_ids)), pa.string()), "tag": [tag] * len(set(image_ids))})
    has = "(SELECT image_id FROM tags SEMI JOIN wanted w ON tags.tag = w.tag AND image_id = id)"
    condition = f"IN {has}" if remove else f"NOT IN {has}"
    rows = workspace.query(
        f"SELECT DISTINCT image_id FROM images SEMI JOIN wanted ON image_id = id WHERE image_id {condition}",
        wanted=wanted,
    )
    ids = rows["image_id"].to_pylist()
    if not ids:
        return 0
    run = runs.start(workspace, STEP, detail={"tag": tag})
    with run.recorded({}):
        if remove:
            keys = pa.table({"tag": [tag] * len(ids), "image_id": ids})
            workspace.tables.delete_keys("tags", keys, run_id=run.run_id)
        else:
            at = datetime.now(UTC).isoformat(timespec="seconds")
            said = [{"tag": tag, "image_id": one, "actor": getpass.getuser(), "at": at, "how": "cli"} for one in ids]
            workspace.tables.append("tags", pa.Table.from_pylist(said, schema=TABLES["tags"].schema), run_id=run.run_id)
    run.end("finished", {"images": len(ids)})
    return len(ids)
