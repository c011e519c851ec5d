"""What a worker does around its child: fetch what is remote before, pack what must be copied after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from flywheel.images.sandbox import Sandbox
from flywheel.records import Failure, SourceItem
from flywheel.workspace.packs import write_pack
from flywheel.workspace.storage import Store
from pipelines.decoding import Seen
from pipelines.sources.fetch import FetchLimits, fetch_many


@dataclass(frozen=True, slots=True, kw_only=True)
class Carriage:
    """How bytes come to the child and where copies go."""

    fetch: FetchLimits
    workspace_uri: str


def carried(items: Sequence[SourceItem], sandbox: Sandbox[Any, Any], carriage: Carriage) -> list[Seen | Failure]:
    """Fetch what is remote, decode in the child, pack what must be copied."""
    staged = _fetch(items, carriage.fetch)
    todo = [item for item in staged if isinstance(item, SourceItem)]
    decoded = iter(sandbox.run(todo))
    answers = [entry if isinstance(entry, Failure) else next(decoded) for entry in staged]
    return _pack(answers, carriage.workspace_uri)


def _fetch(items: Sequence[SourceItem], limits: FetchLimits) -> list[SourceItem | Failure]:
    urls = [item.locator.uri for item in items if _is_url(item)]
    fetched = iter(fetch_many(urls, limits))
    staged: list[SourceItem | Failure] = []
    for item in items:
        if not _is_url(item):
            staged.append(item)
            continue
        answer = next(fetched)
        staged.append(answer if isinstance(answer, Failure) else replace(item, inline=answer.data))
    return staged


def _is_url(item: SourceItem) -> bool:
    return item.inline is None and item.locator.uri.startswith(("http://", "https://"))


def _pack(answers: Sequence[Seen | Failure], workspace_uri: str) -> list[Seen | Failure]:
    """Replace the bytes of copied images by their place in a pack."""
    copies = {
        answer.facts.image_id: (answer.facts.image_id, answer.data, answer.facts.format.lower())
        for answer in answers
        if isinstance(answer, Seen) and answer.data is not None
    }
    if not copies:
        return list(answers)
    places = write_pack(Store(workspace_uri), list(copies.values()))
    return [
        replace(answer, locator=places[answer.facts.image_id], data=None)
        if isinstance(answer, Seen) and answer.data is not None
        else answer
        for answer in answers
    ]
