"""A task whose worker gets pictures from its child as files, decoded, checked and small enough to be sent to a model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flywheel.images.sandbox import Sandbox
from flywheel.records import Budgets
from pipelines.decoding import SendContext
from pipelines.executors import Answers, Batch, Task


def sending_task(
    budgets: Budgets, around: Callable[[Batch, Sandbox[Any, Any]], Answers], max_pixels: int | None = None
) -> Task:
    """`around` is what the worker does with them. `max_pixels`: beyond it they are made smaller; None: as they are."""
    return Task(
        item="pipelines.decoding:sent_item",
        context=SendContext(budgets=budgets, max_pixels=max_pixels or budgets.max_pixels),
        memory_bytes=budgets.child_memory_bytes,
        item_s=budgets.decode_s,
        around=around,
    )
