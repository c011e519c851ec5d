"""WebDataset: plain tars with three members an image, `<image_id>.jpg` (or .png, …), `.json` and `.txt`.

Shards lie in a folder per bucket and resolution (`2x3-512/00000.tar`): images of one batch must have one
shape, and so a loader that reads one folder needs no buffer to sort them.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator, Sequence

from pipelines.export.journal import Written
from pipelines.export.records import Read, Record, side_car
from pipelines.export.writer import FileShards, write_hashed


class WebDatasetWriter(FileShards):
    """Every member has all header fields fixed: equal records give an equal shard."""

    def write(self, shard: str, records: Sequence[Record], read: Read) -> Written:
        return write_hashed(self.store, f"{shard}.tar", _tar(records, read))


def _tar(records: Sequence[Record], read: Read) -> Iterator[bytes]:
    for record in records:
        yield _member(record.file_name, read(record))
        yield _member(f"{record.image_id}.json", side_car(record))
        # Written even when empty: loaders name the members they want, and stumble over one that is missing.
        yield _member(f"{record.image_id}.txt", record.caption.encode())
    yield bytes(2 * tarfile.BLOCKSIZE)


def _member(name: str, data: bytes) -> bytes:
    header = tarfile.TarInfo(name)
    header.size = len(data)
    header.mode = 0o644
    return header.tobuf(format=tarfile.USTAR_FORMAT) + data + bytes(-len(data) % tarfile.BLOCKSIZE)
