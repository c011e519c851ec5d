"""Where an image's original bytes can be read, and whether they are still there."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import unquote

import pyarrow as pa

from flywheel.errors import FlywheelError
from flywheel.records import Locator
from flywheel.seeds import content_id
from flywheel.workspace import Workspace
from flywheel.workspace.storage import read_locator

_SPAN = re.compile(r"@(\d+)\+(\d+)$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """One source row of an image."""

    source_id: str
    uri: str
    fingerprint: str


def locator_of(uri: str, fingerprint: str) -> Locator | None:
    """Where a sighting's bytes would be; None where no range can name them (URLs, cells of a table).

    A member of a tar carries its span in its fingerprint (`pipelines.sources.tars`); of a gz tar too, where
    it does not lead to the bytes: whoever reads must check the hash.
    """
    if not uri.startswith(("file://", "s3://")):
        return None
    address, mark, member = uri.partition("#")
    if not mark:
        return Locator(uri=uri)
    span = _SPAN.search(fingerprint)
    if span is None:
        return None
    return Locator(uri=address, member=unquote(member), offset=int(span[1]), length=int(span[2]))


def is_copied(workspace: Workspace, uri: str) -> bool:
    """Whether bytes lie in a pack of the workspace itself."""
    return uri.startswith(f"{workspace.store.root_uri}/packs/")


def holds(image_id: str, locator: Locator) -> bool:
    """Whether the bytes there can be read and are the image's."""
    try:
        return content_id(read_locator(locator)) == image_id
    except (OSError, FlywheelError):
        return False


def elsewhere(image_id: str, sightings: Sequence[Sighting]) -> tuple[Sighting, Locator] | None:
    """The first sighting at which the image's bytes can still be read."""
    for sighting in sightings:
        locator = locator_of(sighting.uri, sighting.fingerprint)
        if locator is not None and holds(image_id, locator):
            return sighting, locator
    return None


def sightings_of(workspace: Workspace, image_ids: Sequence[str]) -> dict[str, list[Sighting]]:
    """All source rows of images, in the order of their ids."""
    rows = workspace.query(
        "SELECT image_id, source_id, uri, fingerprint FROM sources JOIN wanted USING (image_id) ORDER BY 1, 2",
        wanted=pa.table({"image_id": pa.array(image_ids, pa.string())}),
    )
    found: dict[str, list[Sighting]] = {}
    for row in rows.to_pylist():
        found.setdefault(row.pop("image_id"), []).append(Sighting(**row))
    return found


def repointed(image_id: str, source_id: str, locator: Locator) -> dict[str, object]:
    """The columns of `images` that say where an image is now."""
    place = {"uri": locator.uri, "member": locator.member, "offset": locator.offset, "length": locator.length}
    return {"image_id": image_id, "source_id": source_id, **place}


def repoint(workspace: Workspace, rows: Sequence[dict[str, object]], *, run_id: str) -> None:
    workspace.tables.update_rows("images", rows, key="image_id", run_id=run_id)
