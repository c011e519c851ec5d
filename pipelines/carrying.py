"""What a worker does around its child: fetch what is remote before, pack what must be copied after.

A micro-batch is worked in pieces, and packed piece by piece, so that what a worker holds at once is bounded by
bytes, however large the images are: a piece, the same again on its way to or from the child, the bodies that are
being fetched meanwhile. Pieces depend on the micro-batch alone: whoever repeats it writes the same packs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from flywheel.images.sandbox import Sandbox
from flywheel.records import Failure, Reason, SourceItem
from flywheel.workspace.packs import write_pack
from flywheel.workspace.storage import Store
from pipelines.decoding import Seen
from pipelines.sources.fetch import FetchLimits, fetch, fetch_many

PIECE_BYTES = 64 << 20  # our choice; one image may have as many
# Our choice: bodies up to this are fetched side by side. A larger one is broken off and fetched again, alone.
SIDE_BY_SIDE_BYTES = 4 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Carriage:
    """How bytes come to the child and where copies go."""

    fetch: FetchLimits
    workspace_uri: str
    copy_all: bool


def carried(items: Sequence[SourceItem], sandbox: Sandbox[Any, Any], carriage: Carriage) -> list[Seen | Failure]:
    """Fetch what is remote, decode in the child, pack what must be copied."""
    answers: list[Seen | Failure] = []
    for piece in _pieces(_staged(items, carriage.fetch), carriage.copy_all):
        answers += _worked(piece, sandbox, carriage)
        piece.clear()  # or its bytes would lie beside those of the next
    return answers


def expected_bytes(item: SourceItem) -> int:
    """The size of an item as its listing knows it; 0 where it does not."""
    if item.inline is not None:
        return len(item.inline)
    if item.locator.length is not None:
        return item.locator.length
    size = item.fingerprint.split("-")[0]  # as `StoredObject` spells it
    return int(size) if size.isdecimal() else 0


def _staged(items: Sequence[SourceItem], limits: FetchLimits) -> Iterator[SourceItem | Failure]:
    """The items in order, URLs with their bodies."""
    few = replace(limits, max_bytes=min(limits.max_bytes, SIDE_BY_SIDE_BYTES))
    fetched = fetch_many([item.locator.uri for item in items if _is_url(item)], few)
    for item in items:
        if not _is_url(item):
            yield item
            continue
        answer = next(fetched)
        if isinstance(answer, Failure) and answer.reason is Reason.TOO_MANY_BYTES and few != limits:
            answer = fetch(item.locator.uri, limits)
        yield answer if isinstance(answer, Failure) else replace(item, inline=answer.data)


def _pieces(staged: Iterator[SourceItem | Failure], copy_all: bool) -> Iterator[list[SourceItem | Failure]]:
    piece: list[SourceItem | Failure] = []
    held = 0
    for entry in staged:
        size = expected_bytes(entry) if isinstance(entry, SourceItem) and _is_held(entry, copy_all) else 0
        if piece and held + size > PIECE_BYTES:
            yield piece
            piece, held = [], 0
        piece.append(entry)
        held += size
    if piece:
        yield piece


def _worked(
    piece: Sequence[SourceItem | Failure], sandbox: Sandbox[Any, Any], carriage: Carriage
) -> list[Seen | Failure]:
    decoded = iter(sandbox.run([entry for entry in piece if isinstance(entry, SourceItem)]))
    answers: list[Seen | Failure] = []
    copies: dict[str, tuple[str, bytes, str]] = {}
    for entry in piece:
        if isinstance(entry, Failure):
            answers.append(entry)
            continue
        answer = next(decoded)
        if isinstance(answer, Seen) and (entry.copy or carriage.copy_all):
            facts, data = answer.facts, answer.data if entry.inline is None else entry.inline
            assert data is not None, "the child returns what is copied, unless it was given the bytes"
            copies[facts.image_id] = (facts.image_id, data, facts.format.lower())
        answers.append(answer)
    places = write_pack(Store(carriage.workspace_uri), list(copies.values())) if copies else {}
    return [
        replace(answer, locator=places.get(answer.facts.image_id, answer.locator), data=None)
        if isinstance(answer, Seen)
        else answer
        for answer in answers
    ]


def _is_held(item: SourceItem, copy_all: bool) -> bool:
    """Whether the item's bytes lie in this process, and not in the child alone."""
    return item.inline is not None or item.copy or copy_all


def _is_url(item: SourceItem) -> bool:
    return item.inline is None and item.locator.uri.startswith(("http://", "https://"))
