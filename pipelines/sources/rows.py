"""Rows of a listing become items: which column says where the image is, and what the others say.

Columns are found by their common names, in any case. A row's image is, in this order: bytes in the row,
then the first filled place column. Rules for places:

- `http(s)://` is fetched later; `s3://` is referenced.
- A relative path is resolved in the listing's own folder and must stay inside it, symlinks included.
- An absolute local path or file:// URI is taken from a local listing only.
"""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import unquote

from flywheel.errors import SourceError, UsageError
from flywheel.records import Failure, Locator, Reason, SourceItem
from flywheel.workspace.places import canonical_uri, file_uri, is_local, local_path
from flywheel.workspace.storage import describe_objects
from pipelines.sources.items import Notes, Place, child_uri, notes_from_fields, parent_uri, refused, with_fragment

# file_name first: beside a URL it is the copy that somebody already made.
PLACE_KEYS = (
    "file_name",
    "image_path",
    "image_url",
    "url",
    "uri",
    "image",
    "path",
    "file_path",
    "filename",
    "file",
)
BYTES_KEYS = ("image", "image_bytes", "bytes", "jpg", "jpeg", "png", "webp")


@dataclass(frozen=True, slots=True)
class Columns:
    """Which columns hold bytes (or bytes with a path) and which hold places, best first."""

    inline: tuple[str, ...]
    places: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.inline or self.places)


def place_columns(names: Sequence[str]) -> tuple[str, ...]:
    lowered = {name.lower(): name for name in reversed(names)}
    return tuple(lowered[key] for key in PLACE_KEYS if key in lowered)


def items_of_rows(
    place: Place, columns: Columns, rows: Sequence[tuple[int, Mapping[str, Any]]]
) -> Iterator[SourceItem]:
    """Items of one batch of (line or row number, fields), at least one for each row, in order."""
    items = [item for number, fields in rows for item in _row(place, columns, number, fields)]
    yield from _described(items)


def bad_row(place: Place, number: int, why: str) -> SourceItem:
    """A row that names no image."""
    uri = with_fragment(place.uri, f"row={number}")
    fingerprint = f"{place.stored.fingerprint}@{number}"
    return refused(place, uri, fingerprint, Reason.BAD_LISTING, f"row {number}: {why}")


def _row(place: Place, columns: Columns, number: int, fields: Mapping[str, Any]) -> Iterator[SourceItem]:
    failure = _failed_upstream(fields)
    if failure is not None:
        yield replace(bad_row(place, number, failure.detail), refused=failure.reason, detail=failure.detail)
        return
    found = False
    for column in columns.inline:
        cell = fields.get(column)
        data, path = (cell.get("bytes"), cell.get("path")) if isinstance(cell, dict) else (cell, None)
        if data is not None:
            yield _inline(place, columns, number, fields, column, data, path)
            found = True
        elif path:
            yield _placed(place, number, str(path), notes_from_fields(fields, place.limits, frozenset({column})))
            found = True
    if found:
        return
    for column in columns.places:
        value = fields.get(column)
        if isinstance(value, str) and value.strip():
            yield _placed(place, number, value.strip(), notes_from_fields(fields, place.limits, frozenset({column})))
            return
    yield bad_row(place, number, "no place and no bytes")


def _failed_upstream(fields: Mapping[str, Any]) -> Failure | None:
    """img2dataset keeps a row for what it could not download: such a row names no image of ours."""
    if "status" not in fields or "error_message" not in fields or fields["status"] in ("success", None):
        return None
    return Failure(reason=Reason.MISSING, detail=f"img2dataset: {fields['status']}: {fields['error_message'] or ''}")


def _inline(
    place: Place, columns: Columns, number: int, fields: Mapping[str, Any], column: str, data: Any, path: str | None
) -> SourceItem:
    part = f"row={number}" if len(columns.inline) == 1 else f"row={number}/{column}"
    notes = notes_from_fields(fields, place.limits, frozenset(columns.inline))
    too_big = len(data) > place.limits.max_bytes
    return SourceItem(
        uri=with_fragment(place.uri, part),
        fingerprint=f"{place.stored.fingerprint}@{number}",
        locator=Locator(uri=place.uri, member=part),
        dataset=place.dataset,
        original_key=notes.key or path,
        caption=notes.caption,
        licence=notes.licence,
        metadata_json=notes.metadata_json,
        refused=Reason.TOO_MANY_BYTES if too_big else None,
        detail=f"{len(data)} bytes, more than {place.limits.max_bytes}" if too_big else None,
        copy=True,
        inline=None if too_big else bytes(data),
    )


def _placed(place: Place, number: int, text: str, notes: Notes) -> SourceItem:
    target = _target(place, text)
    if isinstance(target, Failure):
        item = bad_row(place, number, target.detail)
        item = replace(item, refused=target.reason)
    else:
        fetched = target[:8].lower().startswith(("http://", "https://"))
        item = SourceItem(uri=target, fingerprint="", locator=Locator(uri=target), dataset=place.dataset, copy=fetched)
    shown_key = notes.key or (None if "://" in text else text.encode("utf-8", "backslashreplace").decode())
    return replace(
        item, original_key=shown_key, caption=notes.caption, licence=notes.licence, metadata_json=notes.metadata_json
    )


def _target(place: Place, text: str) -> str | Failure:
    """The URI that a listed place means, or why it is not followed."""
    scheme = text.split("://")[0].lower() if "://" in text else ""
    try:
        if scheme in ("http", "https"):
            # A lone surrogate from a JSON escape can be neither fetched nor stored.
            return text.encode("utf-8").decode("utf-8")
        if scheme == "s3":
            return canonical_uri("s3" + text[2:])
        if scheme:
            return _absolute(place, local_path(text)) if scheme == "file" else _bad(f"{scheme}:// is not read")
        if "\0" in text or text.startswith("data:"):
            return _bad("not a path")
        if text.startswith("/"):
            return _absolute(place, os.fsencode(text))
        return _relative(place, text)
    except (SourceError, UsageError, UnicodeError) as error:
        return _bad(str(error))


def _bad(why: str) -> Failure:
    return Failure(reason=Reason.BAD_LISTING, detail=why)


def _absolute(place: Place, path: bytes) -> str | Failure:
    if not is_local(place.uri):
        return Failure(
            reason=Reason.UNSAFE_MEMBER_PATH, detail="a listing from elsewhere may not name files of this machine"
        )
    return file_uri(os.path.realpath(path))


def _relative(place: Place, text: str) -> str | Failure:
    steps = posixpath.normpath(text)
    if steps == ".." or steps.startswith("../"):
        return Failure(reason=Reason.UNSAFE_MEMBER_PATH, detail="a relative path that leaves the listing's folder")
    folder = parent_uri(place.uri)
    if not is_local(folder):
        return child_uri(folder, steps)
    root = os.path.realpath(local_path(folder))
    real = os.path.realpath(os.path.join(root, os.fsencode(steps)))
    if not real.startswith(root.rstrip(b"/") + b"/"):
        return Failure(reason=Reason.SYMLINK_OUT_OF_ROOT, detail="a path that leads out of the listing's folder")
    return file_uri(real)


def _described(items: Sequence[SourceItem]) -> Iterator[SourceItem]:
    """Fill in size and time of what is referenced; object stores are asked once for the whole batch."""
    open_ended = [item.uri for item in items if item.refused is None and not item.copy and item.uri.startswith("s3://")]
    objects = dict(zip(open_ended, describe_objects(open_ended), strict=True)) if open_ended else {}
    for item in items:
        if item.refused is not None or item.copy:
            yield item
        elif is_local(item.uri):
            yield _with_local_stat(item)
        else:
            stored = objects[item.uri]
            if stored is None or stored.is_folder:
                yield replace(item, refused=Reason.MISSING, detail=f"no such object: {unquote(item.uri)}"[:500])
            else:
                yield replace(item, fingerprint=stored.fingerprint)


def _with_local_stat(item: SourceItem) -> SourceItem:
    try:
        found = os.stat(local_path(item.uri))
    except (FileNotFoundError, NotADirectoryError):
        return replace(item, refused=Reason.MISSING, detail="no such file")
    except OSError as error:
        return replace(item, refused=Reason.UNREADABLE, detail=error.strerror)
    if not stat.S_ISREG(found.st_mode):
        return replace(item, refused=Reason.NOT_AN_IMAGE, detail="not a regular file")
    return replace(item, fingerprint=f"{found.st_size}-{found.st_mtime_ns}")
