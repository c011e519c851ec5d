"""A training run as a person sees it go by: bars on a terminal, a line now and then elsewhere; both on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

Watch = Callable[[str, int, int, Mapping[str, Any]], None]
_EVERY_S = 10.0  # between lines


@contextmanager
def watching(is_first: bool) -> Iterator[Watch]:
    """Only the first worker speaks."""
    if not is_first:
        yield lambda what, done, total, values: None
    elif sys.stderr.isatty():
        with _bars() as watch:
            yield watch
    else:
        yield _lines()


@contextmanager
def _bars() -> Iterator[Watch]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    told = TextColumn("{task.fields[told]}", markup=False)
    columns = (TextColumn("{task.description:8}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), told)
    with Progress(*columns, console=Console(stderr=True)) as bars:
        tasks: dict[str, Any] = {}

        def watch(what: str, done: int, total: int, values: Mapping[str, Any]) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total, told="")
            bars.update(tasks[what], completed=done, total=total, told=_told(values))

        yield watch


def _lines() -> Watch:
    last: dict[str, float] = {}

    def watch(what: str, done: int, total: int, values: Mapping[str, Any]) -> None:
        now = time.monotonic()
        if done == total or now - last.get(what, -_EVERY_S) >= _EVERY_S:
            last[what] = now
            left = f"  {values['left_s']:.0f} s left" if "left_s" in values and done < total else ""
            print(f"{what} {done}/{total}  {_told(values)}{left}".rstrip(), file=sys.stderr, flush=True)

    return watch


def _told(values: Mapping[str, Any]) -> str:
    shown = {"loss": "loss {:.4f}", "samples/s": "{:.1f} samples/s", "mfu": "MFU {:.1%}"}
    return "  ".join(form.format(values[name]) for name, form in shown.items() if name in values)
