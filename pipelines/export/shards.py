"""Which image goes into which shard: decided before a byte is written, so that a resumed export agrees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

# Our choice: keeps a folder of an imagefolder export, and the memory of a shard's records, small.
MAX_IMAGES = 10_000


@dataclass(frozen=True, slots=True)
class Shard:
    """Images `start` to `stop` of the export's order. `name` has no suffix: `00000`, or `2x3-512/00000`."""

    name: str
    start: int
    stop: int


def plan(groups: Sequence[str], sizes: Sequence[int], limit_bytes: int, max_images: int = MAX_IMAGES) -> list[Shard]:
    """Cut a sequence of images into shards of at most `limit_bytes` of originals and `max_images` images.

    `groups` are the images' folders ("" for none), equal ones adjacent; a shard never crosses a group, and
    numbers start anew in each. An image larger than the limit gets a shard of its own.
    """
    shards: list[Shard] = []
    start, used, number = 0, 0, 0
    for index, (group, size) in enumerate(zip(groups, sizes, strict=True)):
        crosses = index > start and group != groups[start]
        full = index > start and (used + size > limit_bytes or index - start >= max_images)
        if crosses or full:
            shards.append(Shard(_name(groups[start], number), start, index))
            number = 0 if crosses else number + 1
            start, used = index, 0
        used += size
    if groups:
        shards.append(Shard(_name(groups[start], number), start, len(groups)))
    return shards


def _name(group: str, number: int) -> str:
    return f"{group}/{number:05d}" if group else f"{number:05d}"
