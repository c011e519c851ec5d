"""A snapshot as a trainer reads it: every caption of every image that it holds, an example each."""

from __future__ import annotations

from dataclasses import dataclass

from flywheel.errors import ContentChanged, SourceError, UsageError
from flywheel.records import Locator
from flywheel.seeds import content_id
from flywheel.workspace import Workspace
from flywheel.workspace.storage import read_locator
from model.data.examples import Example, Offered

# What the source said, and what was written since; the same words twice are one caption.
_TOLD = """
WITH held AS (SELECT DISTINCT image_id FROM snapshots WHERE snapshot_id = '{snapshot_id}'),
     said AS (SELECT image_id, 'source' AS kind, caption AS "text" FROM sources WHERE caption IS NOT NULL
              UNION ALL SELECT image_id, kind, "text" FROM captions)
SELECT held.image_id, said."text", min(said.kind) AS kind, any_value(i.uri) AS uri, any_value(i.member) AS member,
       any_value(i."offset") AS "offset", any_value(i.length) AS length
FROM held JOIN images i USING (image_id) LEFT JOIN said USING (image_id)
GROUP BY held.image_id, said."text" ORDER BY held.image_id, kind, said."text"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Original:
    """An image's bytes, wherever they lie, held to their sha256."""

    image_id: str
    locator: Locator

    def read(self, at_most: int) -> bytes:
        """Raises OSError where they are gone or others now."""
        try:
            data = read_locator(self.locator, at_most)
        except (SourceError, ContentChanged) as error:
            raise OSError(str(error)) from error
        if content_id(data) != self.image_id:
            raise OSError(f"{self.locator.uri} has other bytes than at ingest")
        return data


def offered_by_snapshot(workspace: Workspace, snapshot_id: str, captioned: bool = True) -> Offered:
    """Without `captioned` each image is one example, told of or not: an autoencoder needs no words.

    Raises UsageError for a snapshot that is not there, or has no captions.
    """
    known = workspace.query("SELECT DISTINCT snapshot_id FROM snapshot_events")["snapshot_id"].to_pylist()
    if snapshot_id not in known:
        raise UsageError(f"no snapshot {snapshot_id!r}; see `flywheel snapshots`")
    found, seen = Offered(), set[str]()
    for row in workspace.query(_TOLD.format(snapshot_id=snapshot_id)).to_pylist():
        image = Original(image_id=row["image_id"], locator=Locator.of(row))
        if not captioned:
            if image.image_id not in seen:
                found.examples.append(Example(key=image.image_id, image=image, caption=""))
            seen.add(image.image_id)
            continue
        if row["text"] is None:
            found.left_out["without a caption"] += 1
            continue
        key = f"{row['image_id']} {row['kind']} {content_id(row['text'].encode())[:8]}"
        found.examples.append(Example(key=key, image=image, caption=row["text"]))
    if not found.examples:
        raise UsageError(f"no image of snapshot {snapshot_id} has a caption: `flywheel caption` writes them")
    return found
