"""Reading originals again: whatever happened to them since ingest must not slip into an export."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from flywheel.errors import ContentChanged, SourceError
from flywheel.seeds import content_id
from flywheel.workspace.storage import read_locator
from pipelines.export.records import Record


class Originals:
    """Reads verified bytes, and remembers what could not be had. `on_read` is called after every image."""

    def __init__(self, on_read: Callable[[], None]) -> None:
        self._on_read = on_read
        self.lost: list[Record] = []

    def read(self, record: Record) -> bytes:
        """Raises ContentChanged when the original vanished, cannot be read or has other bytes now."""
        try:
            data = read_locator(record.locator)
        except (OSError, SourceError) as error:
            raise ContentChanged(f"{record.locator.uri}: {error}") from error
        if content_id(data) != record.image_id:
            raise ContentChanged(f"{record.locator.uri}: other bytes than at ingest")
        self._on_read()
        return data

    def count_lost(self, records: Sequence[Record]) -> None:
        """Find every lost original of a shard that could not be written."""
        for record in records:
            try:
                self.read(record)
            except ContentChanged:
                self.lost.append(record)
