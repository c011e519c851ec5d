"""Suites by name: the world's own levels, or a file of a kind that `flywheel.suites` knows; written down before they are drawn.

miniature                  every level            miniature:L1,L4        these
geneval:prompts.jsonl      a file by its kind     prompts.jsonl          one's own
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from flywheel.errors import UsageError
from flywheel.records import Locator
from flywheel.schemas import TABLES
from flywheel.seeds import content_id
from flywheel.suites import SUITES
from flywheel.suites.item import Item
from flywheel.workspace import Workspace, runs
from model.miniature import levels
from model.miniature.suite import NAME as MINIATURE
from model.miniature.suite import items as miniature_items
from pipelines.generators import Reference
from pipelines.pictures import kept_pictures, picture_bytes

STEP = "enrol"


@dataclass(frozen=True, slots=True, kw_only=True)
class Enrolled:
    """An item, with its references where a worker's child finds them."""

    item: Item
    references: tuple[Reference, ...]


def items_of(named: str, number: int | None, role: str) -> list[Item]:
    """At most `number` items (of the miniature: a level). Raises UsageError for what is no suite."""
    kind, _, rest = named.partition(":")
    if kind == MINIATURE:
        chosen = [one.strip() for one in rest.split(",") if one.strip()] or list(levels.LEVELS)
        return miniature_items(chosen, number or 64, role)
    if kind in SUITES and rest:
        return _of_file(kind, Path(rest), number)
    if Path(named).is_file():
        return _of_file("own", Path(named), number)
    known = ", ".join([MINIATURE, *(f"{name}:FILE" for name in SUITES)])
    raise UsageError(f"{named}: no suite and no file; there are {known}, or a JSONL file of your own")


def _of_file(kind: str, path: Path, number: int | None) -> list[Item]:
    found = SUITES[kind].load(path)[:number]
    if not found:
        raise UsageError(f"{path}: no prompt is in it")
    return found


def enrolled(workspace: Workspace, items: Sequence[Item]) -> list[Enrolled]:
    """Items in the tables, each once; references are kept beside them. Raises UsageError for a reference that is none."""
    kept = kept_pictures(workspace)
    read = {
        path: picture_bytes(Path(path), workspace.config.ingest.budgets) for one in items for path in one.references
    }
    new_pictures = kept.added(list(read.values()))
    items = [_by_content(one, read) for one in items]
    known = set(workspace.query("SELECT item_id FROM suite_items")["item_id"].to_pylist())
    new = {one.item_id: one for one in items if one.item_id not in known}
    if new or new_pictures.num_rows:
        run = runs.start(workspace, STEP, detail={"suites": sorted({one.suite for one in new.values()})})
        with run.recorded({}):
            workspace.tables.append("pictures", new_pictures, run_id=run.run_id)
            rows = [_row(one) for one in new.values()]
            table = pa.Table.from_pylist(rows, schema=TABLES["suite_items"].schema)
            workspace.tables.append("suite_items", table, run_id=run.run_id)
        run.end("finished", {"items": len(new)})
    places = _places(workspace) if read else {}
    return [
        Enrolled(item=one, references=tuple(places[content_id(read[path])] for path in one.references)) for one in items
    ]


def _by_content(item: Item, read: Mapping[str, bytes]) -> Item:
    """What it begins with is part of what is asked: the same file with another picture is another item."""
    if not item.references:
        return item
    return replace(item, checks={**item.checks, "references": [content_id(read[path]) for path in item.references]})


def _row(item: Item) -> dict[str, Any]:
    return {
        "item_id": item.item_id,
        "suite": item.suite,
        "key": item.key,
        "prompt": item.prompt,
        "reference_ids": item.checks.get("references", []),
        "labels_json": json.dumps(dict(item.labels), sort_keys=True, ensure_ascii=False),
        "checks_json": json.dumps(dict(item.checks), sort_keys=True, ensure_ascii=False),
    }


def _places(workspace: Workspace) -> dict[str, Reference]:
    rows = workspace.query('SELECT image_id, uri, member, "offset", length FROM pictures').to_pylist()
    return {row["image_id"]: Reference(image_id=row["image_id"], locator=Locator.of(row)) for row in rows}
