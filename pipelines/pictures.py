"""Pictures that models made or were given to edit: beside the pool, so that none of them is ever trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from flywheel.errors import UsageError
from flywheel.images.header import read_header
from flywheel.records import Budgets, Failure
from flywheel.schemas import TABLES
from flywheel.seeds import content_id
from flywheel.workspace import Workspace
from flywheel.workspace.packs import write_pack


@dataclass(frozen=True, slots=True)
class Kept:
    """Writes packs; rows only for pictures that have none yet. `known`: ids of those."""

    workspace: Workspace
    known: set[str] = field(default_factory=set)

    def added(self, pictures: Sequence[bytes]) -> pa.Table:
        """Rows of `pictures` for those that are new. Raises ValueError for bytes that are no picture."""
        fresh = {content_id(one): one for one in pictures}
        fresh = {image_id: data for image_id, data in fresh.items() if image_id not in self.known}
        self.known.update(fresh)
        budgets = self.workspace.config.ingest.budgets
        rows: list[dict[str, Any]] = []
        copies = []
        for image_id, data in fresh.items():
            header = read_header(data, budgets)
            if isinstance(header, Failure):
                raise ValueError(f"{image_id[:12]}: {header.detail}")
            copies.append((image_id, data, header.format.lower()))
            rows.append({"image_id": image_id, "width_px": header.width_px, "height_px": header.height_px})
        places = write_pack(self.workspace.store, copies) if copies else {}
        for row in rows:
            at = places[row["image_id"]]
            row |= {"uri": at.uri, "member": at.member, "offset": at.offset, "length": at.length}
        return pa.Table.from_pylist(rows, schema=TABLES["pictures"].schema)


def kept_pictures(workspace: Workspace) -> Kept:
    return Kept(workspace, set(workspace.query("SELECT image_id FROM pictures")["image_id"].to_pylist()))


def picture_bytes(path: Path, budgets: Budgets) -> bytes:
    """Of a picture within the budgets. Raises UsageError for anything else."""
    try:
        with path.open("rb") as file:
            data = file.read(budgets.max_bytes + 1)
    except OSError as error:
        raise UsageError(f"{path}: a picture that cannot be read: {error.strerror}") from error
    if len(data) > budgets.max_bytes:
        raise UsageError(f"{path}: a picture of more than {budgets.max_bytes} bytes")
    header = read_header(data, budgets)
    if isinstance(header, Failure):
        raise UsageError(f"{path}: no picture: {header.detail}")
    return data
