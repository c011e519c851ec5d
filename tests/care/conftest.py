"""A workspace filled by hand with what ingest and the later steps would have written."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flywheel.records import Locator
from flywheel.schemas import TABLES
from flywheel.seeds import content_id, source_id
from flywheel.workspace import Workspace, runs
from flywheel.workspace.packs import write_pack
from flywheel.workspace.places import file_uri
from flywheel.workspace.storage import describe
from pipelines.judging import init_workspace


@dataclass
class Yard:
    """A workspace and a folder of originals beside it."""

    workspace: Workspace
    originals: Path
    captions: dict[str, str] = field(default_factory=dict)

    def original(self, name: str, data: bytes) -> Path:
        path = self.originals / name
        path.write_bytes(data)
        return path

    def add(self, table: str, *rows: dict[str, Any], run_id: str = "hand") -> None:
        schema = TABLES[table].schema if table in TABLES else self.schema(table)
        full = [dict.fromkeys(schema.names) | row for row in rows]
        self.workspace.tables.append(table, pa.Table.from_pylist(full, schema=schema), run_id=run_id)

    def schema(self, table: str) -> pa.Schema:
        return self.workspace.tables.relation(table).schema

    def ingest(self, *paths: Path, copy: bool = False, caption: Callable[[Path], str] | None = None) -> str:
        """What an ingest run writes: sources, images that are new, a score, outcomes. Returns the run id."""
        run = runs.start(self.workspace, "ingest", detail={"sources": [str(self.originals)]})
        known = set(self.workspace.query("SELECT image_id FROM images")["image_id"].to_pylist())
        places = {}
        if copy:
            items = [(content_id(path.read_bytes()), path.read_bytes(), "png") for path in paths]
            places = write_pack(self.workspace.store, items)
        for path in paths:
            image, uri = content_id(path.read_bytes()), file_uri(str(path))
            stamp = describe(uri).fingerprint
            sighting, new = source_id(uri, stamp), image not in known
            known.add(image)
            text = caption(path) if caption else None
            if new:
                self.add("score_tone", {"image_id": image, "version": "1"}, run_id=run.run_id)
                at = places.get(image, Locator(uri=uri))
                place = {"uri": at.uri, "member": at.member, "offset": at.offset, "length": at.length}
                facts = {"image_id": image, "format": "PNG", "bytes": path.stat().st_size, "source_id": sighting}
                sides = {"width_px": 64, "height_px": 64}
                self.add("images", facts | place | sides, run_id=run.run_id)
            row = {"source_id": sighting, "uri": uri, "fingerprint": stamp, "caption": text, "image_id": image}
            self.add("sources", row, run_id=run.run_id)
            self.outcome("ingest", sighting, "ok" if new else "known", run.run_id)
        run.end("finished", {"in": len(paths)})
        return run.run_id

    def outcome(self, step: str, subject: str, status: str, run_id: str = "hand") -> None:
        row = {"step": step, "subject_id": subject, "config_hash": "c", "attempt": 1, "status": status}
        self.add("outcomes", row, run_id=run_id)

    def count(self, table: str, condition: str = "true") -> int:
        return int(self.workspace.query(f"SELECT count(*) FROM {table} WHERE {condition}")[0][0].as_py())

    def files_saying(self, text: str) -> list[str]:
        """Files of the workspace in which a text can be read, raw or from any Parquet column."""
        found = []
        for path in sorted(self.workspace.path.rglob("*")):
            if path.is_file() and text in _readable(path):
                found.append(str(path.relative_to(self.workspace.path)))
        return found


def _readable(path: Path) -> str:
    raw = path.read_bytes().decode("latin-1")
    if path.suffix != ".parquet":
        return raw
    return raw + json.dumps(pq.read_table(path).to_pylist(), default=str, ensure_ascii=False)


@pytest.fixture
def yard(tmp_path: Path) -> Yard:
    folder = tmp_path / "originals"
    folder.mkdir()
    return Yard(init_workspace(str(tmp_path / "ws"), "miniature"), folder)
