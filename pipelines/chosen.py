"""Which images a person means: by id, by the start of an id, by a place, by a condition."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping, Sequence

import pyarrow as pa

from flywheel.errors import UsageError
from flywheel.workspace import Workspace
from flywheel.workspace.condition import images_where
from flywheel.workspace.places import canonical_uri, local_path
from flywheel.workspace.query import ask

_START = re.compile(r"[0-9a-f]{8,64}")  # our choice: 8 hex digits are the least that names an image


def named(workspace: Workspace, names: Sequence[str]) -> list[str]:
    """Image ids for ids, unique starts of ids (>= 8 hex digits), source URIs or paths, in the order given.

    What is forgotten already may be named by id. Raises UsageError for a name that fits none or several.
    """
    starts = {name: name.lower() for name in names if is_start(name)}
    found = _by_start(workspace, sorted(set(starts.values())))
    chosen: list[str] = []
    for name in names:
        fits = found.get(starts.get(name, ""), [])
        if len(fits) > 1:
            raise UsageError(f"{name} is the start of {len(fits)} image ids; give more of it")
        fits = fits or _by_place(workspace, name)
        if not fits:
            raise UsageError(
                f"no image {name!r} here: give an image id, at least 8 digits of one, or a source's path or URI"
            )
        chosen += fits
    return list(dict.fromkeys(chosen))


def answering(workspace: Workspace, name: str) -> list[str]:
    """The images that an id, the start of one, a source URI or a path stands for: none, one or several."""
    start = name.lower()
    found = _by_start(workspace, [start]).get(start, []) if is_start(name) else []
    return found or _by_place(workspace, name)


def is_start(name: str) -> bool:
    """Whether a name may be the start of an id."""
    return _START.fullmatch(name.lower()) is not None


def _by_start(workspace: Workspace, starts: Sequence[str]) -> Mapping[str, list[str]]:
    rows = workspace.query(
        "SELECT DISTINCT start, image_id FROM (SELECT image_id FROM images UNION SELECT image_id FROM tombstones) "
        "JOIN starts ON starts_with(image_id, start) ORDER BY 1, 2",
        starts=pa.table({"start": pa.array(starts, pa.string())}),
    )
    found: dict[str, list[str]] = {}
    for row in rows.to_pylist():
        found.setdefault(row["start"], []).append(row["image_id"])
    return found


def _by_place(workspace: Workspace, name: str) -> list[str]:
    """All images seen at a place: after a change there may be several."""
    rows = workspace.query(
        "SELECT DISTINCT image_id FROM sources JOIN places USING (uri) WHERE image_id IS NOT NULL ORDER BY 1",
        places=pa.table({"uri": pa.array(spellings(name), pa.string())}),
    )
    return [str(image_id) for image_id in rows["image_id"].to_pylist()]


def spellings(name: str) -> list[str]:
    """A place as sources may have written it: local paths absolute and resolved, members as fragments."""
    # Bytes of a name that are no text stand in no table as they are, but percent-encoded.
    return sorted(uri for uri in _uris(name) if uri.encode(errors="ignore").decode() == uri)


def _uris(name: str) -> set[str]:
    if "://" in name and not name.startswith("file://"):
        return {name}
    address, mark, member = name.partition("#")
    spelled = {name, canonical_uri(name)} if not mark or "://" not in name else {name}
    resolved = os.fsdecode(os.path.realpath(local_path(canonical_uri(address))))
    return spelled | {canonical_uri(path) + mark + member for path in (address, resolved)}


def fitting(workspace: Workspace, condition: str, views: Mapping[str, str]) -> list[str]:
    """Images for which a condition over the columns of `scores` and `sources` holds.

    Raises QueryRefused for what is not one condition, QueryFailed for what DuckDB cannot answer, UsageError
    for more images than a query may return.
    """
    answer = ask(workspace, images_where(condition), views)
    if answer.truncated:
        raise UsageError(
            f"more than {answer.rows.num_rows} images fit ([sql] rows in flywheel.toml); narrow the condition"
        )
    kinds = set(answer.rows["kind"].to_pylist())
    if kinds - {"BOOLEAN"}:
        raise UsageError(f"not a condition but a {kinds.pop().lower()}: compare it with something")
    return sorted(set(answer.rows["image_id"].to_pylist()))


def with_duplicates(workspace: Workspace, image_ids: Collection[str]) -> list[str]:
    """The images, the members of their duplicate groups, and what an edge says is the same picture."""
    rows = workspace.query(
        """
        WITH shown AS (SELECT image_id, representative_id FROM duplicate_groups
                       UNION SELECT representative_id, representative_id FROM duplicate_groups),
             touched AS (SELECT representative_id FROM shown JOIN wanted USING (image_id))
        SELECT image_id FROM shown JOIN touched USING (representative_id)
        UNION SELECT b FROM duplicate_edges JOIN wanted ON a = image_id
        UNION SELECT a FROM duplicate_edges JOIN wanted ON b = image_id
        """,
        wanted=pa.table({"image_id": pa.array(sorted(image_ids), pa.string())}),
    )
    return sorted({*image_ids, *rows["image_id"].to_pylist()})
