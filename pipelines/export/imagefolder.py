"""imagefolder: plain files in numbered folders, and one `metadata.jsonl` over all of them."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import PurePosixPath

from flywheel.workspace.storage import Store, describe
from pipelines.export.journal import Entry, Written
from pipelines.export.records import Read, Record, side_car
from pipelines.export.writer import write_hashed

_METADATA = "metadata.jsonl"
_OURS = re.compile(r"[0-9a-f]{64}")


class ImageFolderWriter:
    """Files `images/00000/<image_id>.jpg`; a shard is one numbered folder."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def write(self, shard: str, records: Sequence[Record], read: Read) -> Written:
        folder = f"images/{shard}"
        held = self._files(folder)
        for record in records:
            # A file appears whole or not at all, so one of the right size and name is that image.
            if held.pop(record.file_name, None) != record.told["bytes"]:
                self._store.write_new(f"{folder}/{record.file_name}", read(record))
        for stale in held:
            self._store.delete(f"{folder}/{stale}")
        return Written(name=folder, bytes=sum(int(record.told["bytes"]) for record in records), sha256=None)

    def holds(self, entry: Entry) -> bool:
        held = self._files(entry.name)
        return {name.split(".")[0] for name in held} == set(entry.image_ids) and sum(held.values()) == entry.bytes

    def remove(self, entry: Entry) -> None:
        for name in self._files(entry.name):
            self._store.delete(f"{entry.name}/{name}")

    def finish(self, image_ids: Collection[str], records: Iterator[tuple[str, Record]]) -> list[Written]:
        return [write_hashed(self._store, _METADATA, (_line(shard, record) for shard, record in records))]

    def _files(self, folder: str) -> dict[str, int]:
        """Our files in a folder with their sizes; a person's are not ours to count or delete."""
        found = (PurePosixPath(self._store.relpath_of(stored.uri)) for stored in self._store.list(folder))
        ours = (path for path in found if _OURS.fullmatch(path.stem))
        return {path.name: describe(self._store.uri_of(str(path))).size for path in ours}


def _line(shard: str, record: Record) -> bytes:
    """`datasets` guesses types from the first lines alone, so no column may be null or change its type later.

    Everything that may is told inside `record`, as JSON.
    """
    told = record.told
    line = {
        "file_name": f"images/{shard}/{record.file_name}",
        "image_id": record.image_id,
        "text": record.caption,
        "dataset": told["dataset"] or "",
        "licence": told["licence"] or "",
        "domain": told["domain"] or "",
        "width_px": told["width_px"],
        "height_px": told["height_px"],
        "bucket": told["bucket"] or "",
        "resolution_px": told["resolution_px"] or 0,
        "record": side_car(record).decode(),
    }
    return json.dumps(line, ensure_ascii=False).encode() + b"\n"
