"""Everything that is known of one image, in one record."""

from __future__ import annotations

import json
from typing import Any

from flywheel.errors import UsageError
from flywheel.workspace import Workspace
from pipelines.judging import judging_views

_PREFIX = 8


def find_image(workspace: Workspace, name: str) -> str:
    """The image_id behind an id, a prefix of at least 8 hex digits, or the URI or path it was seen at.

    Raises UsageError when there is none, or more than one.
    """
    from flywheel.workspace.places import canonical_uri

    text = name.lower()
    if len(text) >= _PREFIX and all(digit in "0123456789abcdef" for digit in text):
        found = workspace.query(f"SELECT image_id FROM images WHERE starts_with(image_id, '{text}')")
    else:
        uri = name if name.startswith(("http://", "https://")) else canonical_uri(name)
        escaped = uri.replace("'", "''")
        found = workspace.query(
            f"SELECT DISTINCT image_id FROM sources WHERE uri = '{escaped}' AND image_id IS NOT NULL"
        )
    ids = found["image_id"].to_pylist()
    if len(ids) != 1:
        raise UsageError(
            f"{len(ids)} images answer to {name!r}; give an image_id, 8 or more of its digits, or its path"
        )
    return str(ids[0])


def explain(workspace: Workspace, name: str) -> dict[str, Any]:
    """Facts, sightings, outcomes, scores, duplicates and the verdict at every stage of one image."""
    image = find_image(workspace, name)
    views = judging_views(workspace)

    def rows(sql: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = workspace.query(sql, views).to_pylist()
        return found

    scores = rows(f"SELECT * FROM scores WHERE image_id = '{image}'")
    return {
        "image": rows(f"SELECT * FROM images WHERE image_id = '{image}'")[0],
        "sources": [_sighting(row) for row in rows(f"SELECT * FROM sources WHERE image_id = '{image}' ORDER BY uri")],
        "outcomes": rows(f"SELECT * FROM outcomes WHERE subject_id = '{image}' ORDER BY step, attempt"),
        "scores": scores[0] if scores else {},
        "duplicates": rows(
            f"SELECT * FROM duplicate_groups WHERE representative_id = '{image}' OR image_id = '{image}' ORDER BY image_id"
        ),
        "verdicts": rows(f"SELECT * FROM verdicts WHERE image_id = '{image}' ORDER BY stage"),
        "snapshots": rows(f"SELECT snapshot_id, stage, bucket FROM snapshots WHERE image_id = '{image}'"),
    }


def _sighting(row: dict[str, Any]) -> dict[str, Any]:
    return row | {"metadata": json.loads(row.pop("metadata_json") or "null")}
