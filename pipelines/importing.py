"""Import: pictures that a product made come in with what was asked, so that what people say of them can be drawn again."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from flywheel.errors import UsageError
from flywheel.schemas import TABLES
from flywheel.seeds import content_id
from flywheel.signals.generated import Generated
from flywheel.workspace import Workspace, runs
from pipelines.checkpoints import checkpoint_by_name
from pipelines.engine import batched
from pipelines.pictures import kept_pictures, picture_bytes

STEP = "import"
BATCH = 64  # pictures that lie in one pack; our choice
_ELSEWHERE = ("http://", "https://", "s3://", "gs://", "data:")


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """`pictures` are kept here; of the others only where they are said to be is known."""

    generations: int
    new: int
    pictures: int


def import_generations(workspace: Workspace, made: Sequence[Generated], folder: Path) -> Imported:
    """Those that are new; pictures are looked for beside the file, in `folder`.

    Raises UsageError for a picture that cannot be read or is none, AnotherDriver.
    """
    known = set(workspace.query("SELECT generation_id FROM generations")["generation_id"].to_pylist())
    new = {one.generation_id: one for one in made if one.generation_id not in known}
    ids = {name: checkpoint_by_name(workspace, name) for name in dict.fromkeys(one.checkpoint for one in new.values())}
    run = runs.start(workspace, STEP)
    counts = {"generations": 0, "pictures": 0}
    with run.recorded(counts):
        kept = kept_pictures(workspace)
        for batch in batched(list(new.items()), BATCH):
            named = {place for _, one in batch for place in (one.image, *one.references) if _is_here(place)}
            data = {place: _bytes(workspace, folder, place) for place in sorted(named)}
            rows = [_row(generation_id, one, ids[one.checkpoint], data) for generation_id, one in batch]
            workspace.tables.append("pictures", kept.added(list(data.values())), run_id=run.run_id)
            table = pa.Table.from_pylist(rows, schema=TABLES["generations"].schema)
            workspace.tables.append("generations", table, run_id=run.run_id)
            counts["generations"] += len(batch)
            counts["pictures"] += sum(_is_here(one.image) for _, one in batch)
    run.end("finished", counts)
    return Imported(generations=len(made), new=counts["generations"], pictures=counts["pictures"])


def _is_here(place: str) -> bool:
    return bool(place) and not place.startswith(_ELSEWHERE)


def _bytes(workspace: Workspace, folder: Path, place: str) -> bytes:
    """Raises UsageError for what lies outside the folder: a table from elsewhere must not name any file of this machine."""
    path = (folder / place).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise UsageError(f"{place}: pictures lie beside the table that names them, below {folder}")
    return picture_bytes(path, workspace.config.ingest.budgets)


def _row(generation_id: str, one: Generated, checkpoint_id: str, data: Mapping[str, bytes]) -> dict[str, Any]:
    return {
        "generation_id": generation_id,
        "checkpoint_id": checkpoint_id,
        "prompt": one.prompt,
        "enhanced_prompt": one.enhanced_prompt or None,
        "reference_ids": [content_id(data[place]) if place in data else place for place in one.references],
        "seed": one.seed,
        "sampler_json": json.dumps(dict(one.sampler), sort_keys=True),
        "request_id": one.request_id or None,
        "image_id": content_id(data[one.image]) if one.image in data else None,
        "image": one.image or None,
    }
