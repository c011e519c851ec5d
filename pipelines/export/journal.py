"""How far an export is, kept in the export itself: which shards are whole, and what they were written from.

`manifest.json` exists only while the export is complete. Until then `.export/` holds the export's header and
an entry a shard, each written after its shard: a killed export repeats at most the shard it was writing.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from flywheel.errors import UsageError
from flywheel.workspace.storage import Store

MANIFEST = "manifest.json"
_FOLDER = ".export"
_HEADER = f"{_FOLDER}/export.json"
_BEFORE = f"{_FOLDER}/before.json"
_ENTRIES = f"{_FOLDER}/shards"


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What a writer wrote: `name` of a file, or of a shard of many files, whose `sha256` is then None."""

    name: str
    bytes: int
    sha256: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One whole shard. `rows_sha256` hashes the records it was written from."""

    shard: str
    name: str
    images: int
    bytes: int
    sha256: str | None
    rows_sha256: str
    image_ids: tuple[str, ...]


class Journal:
    """The journal of one export, at the destination."""

    def __init__(self, store: Store, snapshot_id: str, format_name: str) -> None:
        """Raises UsageError when the destination holds another export, or something that is none."""
        self._store = store
        self._header = {"snapshot_id": snapshot_id, "format": format_name}
        found = self._found_header()
        if found is not None and None in found.values():
            raise UsageError(_no_export(store))
        if found is not None and found != self._header:
            raise UsageError(
                f"{store.root_uri} holds snapshot {found.get('snapshot_id')} as {found.get('format')}; "
                f"give snapshot {snapshot_id} as {format_name} a folder of its own"
            )
        if found is None and next(store.list(), None) is not None:
            raise UsageError(_no_export(store))
        store.sweep(0)
        self.is_complete = store.exists(MANIFEST)
        self.known = self._known()

    def begin(self) -> None:
        """From here on the destination is not complete, and says so."""
        self._store.write_new(_HEADER, _encode(self._header))
        if self.is_complete:
            self._store.write_new(_BEFORE, self._store.read(MANIFEST))
            self._store.delete(MANIFEST)
            self.is_complete = False

    def add(self, entry: Entry) -> None:
        self._store.write_new(f"{_ENTRIES}/{entry.shard}.json", _encode(asdict(entry)))
        self.known[entry.shard] = entry

    def finish(self, entries: Sequence[Entry], files: Sequence[Written], told: Mapping[str, Any]) -> None:
        """Write the manifest, last of all."""
        manifest = {
            **self._header,
            **told,
            "images": sum(entry.images for entry in entries),
            "bytes": sum(entry.bytes for entry in entries),
            "shards": [asdict(entry) for entry in entries],
            "files": [asdict(file) for file in files],
        }
        self._store.write_new(MANIFEST, _encode(manifest))
        self.is_complete = True
        self.tidy()

    def tidy(self) -> None:
        """Remove the journal of an export that is complete."""
        if self._store.is_local:
            shutil.rmtree(self._store.path_of(_FOLDER), ignore_errors=True)
            return
        for relpath in self._listed(_FOLDER):
            self._store.delete(relpath)

    def _found_header(self) -> dict[str, Any] | None:
        for relpath in (_HEADER, MANIFEST):
            if self._store.exists(relpath):
                told = _decode(self._store, relpath)
                return {name: told.get(name) for name in self._header}
        return None

    def _known(self) -> dict[str, Entry]:
        found: dict[str, Entry] = {}
        for relpath in (_BEFORE, MANIFEST):
            if self._store.exists(relpath):
                found.update({told["shard"]: _entry(told) for told in _decode(self._store, relpath)["shards"]})
        for relpath in self._listed(_ENTRIES):
            entry = _entry(_decode(self._store, relpath))
            found[entry.shard] = entry
        return found

    def _listed(self, folder: str) -> list[str]:
        return [self._store.relpath_of(stored.uri) for stored in self._store.list(folder)]


def _no_export(store: Store) -> str:
    return f"{store.root_uri} is not empty and holds no export; give the export a folder of its own"


def _entry(told: Mapping[str, Any]) -> Entry:
    return Entry(**{**told, "image_ids": tuple(told["image_ids"])})


def _encode(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode() + b"\n"


def _decode(store: Store, relpath: str) -> dict[str, Any]:
    """Raises UsageError for a file of our name that is not ours."""
    try:
        told = json.loads(store.read(relpath))
    except ValueError as error:
        raise UsageError(_no_export(store)) from error
    if not isinstance(told, dict):
        raise UsageError(_no_export(store))
    return told
