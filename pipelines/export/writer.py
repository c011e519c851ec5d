"""What every format must be able to do with a shard."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Protocol

from flywheel.workspace.storage import Store, describe
from pipelines.export.journal import Entry, Written
from pipelines.export.records import Read, Record


class Writer(Protocol):
    """One format at one destination. Every method may be repeated: a killed export does so."""

    def write(self, shard: str, records: Sequence[Record], read: Read) -> Written:
        """Make one shard appear, whole. Raises what `read` raises, and then leaves no part of a file."""
        ...

    def holds(self, entry: Entry) -> bool:
        """Whether what an entry tells of is still there."""
        ...

    def remove(self, entry: Entry) -> None:
        """Remove a shard that is no longer part of the export, in part gone or not."""
        ...

    def finish(self, image_ids: Collection[str], records: Iterator[tuple[str, Record]]) -> list[Written]:
        """Once all shards are there: files beside them, from (shard, record) in order."""
        ...


class FileShards:
    """The half of a writer whose shards are single files."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def holds(self, entry: Entry) -> bool:
        return self.store.exists(entry.name) and describe(self.store.uri_of(entry.name)).size == entry.bytes

    def remove(self, entry: Entry) -> None:
        if self.store.exists(entry.name):
            self.store.delete(entry.name)

    def finish(self, image_ids: Collection[str], records: Iterator[tuple[str, Record]]) -> list[Written]:
        return []


def write_hashed(store: Store, relpath: str, chunks: Iterable[bytes]) -> Written:
    """Store a file, hashed on the way."""
    digest, size = hashlib.sha256(), 0

    def counted() -> Iterator[bytes]:
        nonlocal size
        for chunk in chunks:
            digest.update(chunk)
            size += len(chunk)
            yield chunk

    store.write_new(relpath, counted())
    return Written(name=relpath, bytes=size, sha256=digest.hexdigest())
