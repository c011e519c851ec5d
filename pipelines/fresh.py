"""Prompts of a concept that nobody has drawn yet, and what was drawn of them."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import pyarrow as pa

from flywheel.errors import UsageError
from flywheel.suites.item import Item
from flywheel.triage.terms import terms
from flywheel.workspace import Workspace
from model.miniature.suite import FRESH, fresh
from pipelines.collecting import labels_of
from pipelines.generators import Generator

_ROLE = "triage"


def fresh_prompts(workspace: Workspace, parts: Collection[str], number: int, stream: Sequence[int]) -> list[Item]:
    """Prompts of the miniature with these parts that nobody else has drawn: of one stream always the same.

    Raises UsageError where there are too few.
    """
    mine = f"{FRESH} {'.'.join(map(str, stream))} "
    rows = workspace.query("SELECT item_id, key FROM suite_items").to_pylist()
    known = {row["item_id"] for row in rows if mine not in row["key"]}
    wanted = set(parts)
    found = fresh(lambda item: wanted <= parts_of(item) and item.item_id not in known, number, _ROLE, stream)
    if len(found) < number // 2:
        raise UsageError(f"the rendered world has {len(found)} fresh prompts of {' + '.join(parts)}, not {number}")
    return found


def generations_of(workspace: Workspace, generator: Generator, items: Sequence[Item]) -> frozenset[str]:
    """What the checkpoint drew of these prompts under this sampler."""
    drawn_by = f"checkpoint_id = '{generator.checkpoint_id}'"
    rows = workspace.query(
        f"SELECT generation_id, sampler_json FROM generations JOIN wanted USING (item_id) WHERE {drawn_by}",
        wanted=pa.table({"item_id": [item.item_id for item in items]}),
    ).to_pylist()
    return frozenset(row["generation_id"] for row in rows if row["sampler_json"] == generator.sampler_json)


def parts_of(item: Item) -> frozenset[str]:
    return terms(item.prompt) | labels_of(item.labels)


def number_of(an_id: str) -> int:
    """An id as part of a stream's seed."""
    return int(an_id[:12], 16)
