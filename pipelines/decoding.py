"""What the killable child of a worker does with bytes: read, check, decode once, score.

Imported by every child, so that nothing heavier than a decoder and its scorers may be imported here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from filters.scorers import measure_native, measure_ocr, measure_scaled
from flywheel.errors import ContentChanged
from flywheel.images.decode import luma_view, native_view, scaled_view
from flywheel.images.fitted import Fit, fitted_view, sent_view
from flywheel.images.views import RGB, NativeView
from flywheel.records import Budgets, Failure, ImageFacts, Locator, Reason, SourceItem
from flywheel.seeds import content_id
from flywheel.workspace.storage import read_locator

Row = Mapping[str, Any]
View = TypeVar("View")


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestContext:
    """What every ingesting child knows: its limits, and which scorers ride on the one decode.

    Images in `forgotten` are refused before their bytes could reach a pack.
    """

    budgets: Budgets
    copy_all: bool
    scorers: tuple[str, ...]
    forgotten: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One item that decoded: its facts, where its bytes will be read again, its scores by scorer.

    `data` are the bytes of what is to be copied, unless whoever asked has given them.
    """

    facts: ImageFacts
    locator: Locator
    scores: Mapping[str, Row]
    data: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureContext:
    budgets: Budgets


@dataclass(frozen=True, slots=True, kw_only=True)
class FitContext:
    """How pictures must come to a network."""

    budgets: Budgets
    fit: Fit


@dataclass(frozen=True, slots=True, kw_only=True)
class SendContext:
    """How large a picture may be when it is sent to a model."""

    budgets: Budgets
    max_pixels: int


class Stored(Protocol):
    """An image that was ingested: its name and where its bytes are read again."""

    @property
    def image_id(self) -> str: ...

    @property
    def locator(self) -> Locator: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureItem:
    """One image and the scorers it still lacks."""

    image_id: str
    locator: Locator
    scorers: tuple[str, ...]
    attempt: int


def ingest_item(item: SourceItem, context: IngestContext) -> Seen | Failure:
    """Read, check, decode once, and let every scaled scorer measure that one decode."""
    try:
        data = item.inline if item.inline is not None else read_within(item.locator, context.budgets.max_bytes)
    except FileNotFoundError:
        return Failure(Reason.MISSING, "the file is gone")
    except OSError as error:
        return Failure(Reason.UNREADABLE, f"{type(error).__name__}: {error.strerror or error}")
    if isinstance(data, Failure):
        return data
    if context.forgotten and content_id(data) in context.forgotten:
        return Failure(Reason.FORGOTTEN, "this image was forgotten; it must not come back")
    view = scaled_view(data, context.budgets)
    if isinstance(view, Failure):
        return view
    keep = data if item.inline is None and (item.copy or context.copy_all) else None
    scores = measure_scaled(view, context.scorers)
    return Seen(facts=view.facts, locator=item.locator, scores=scores, data=keep)


def scaled_item(item: MeasureItem, context: MeasureContext) -> Mapping[str, Row] | Failure:
    return _measure(item, context.budgets, scaled_view, measure_scaled)


def native_item(item: MeasureItem, context: MeasureContext) -> Mapping[str, Row] | Failure:
    return _measure(item, context.budgets, luma_view, measure_native)


def ocr_item(item: MeasureItem, context: MeasureContext) -> Mapping[str, Row] | Failure:
    return _measure(item, context.budgets, native_view, _read_words)


def fitted_item(item: MeasureItem, context: FitContext) -> RGB | Failure:
    data = read_again(item, context.budgets)
    return data if isinstance(data, Failure) else fitted_view(data, context.budgets, context.fit)


def fitted_bytes(data: bytes, context: FitContext) -> RGB | Failure:
    return fitted_view(data, context.budgets, context.fit)


def sent_item(item: Stored, context: SendContext) -> bytes | Failure:
    data = read_again(item, context.budgets)
    return data if isinstance(data, Failure) else sent_view(data, context.budgets, context.max_pixels)


def read_within(locator: Locator, max_bytes: int) -> bytes | Failure:
    """Read at most the budget and one byte more, by which it shows that there was more. A range tells its length."""
    if locator.length is not None and locator.length > max_bytes:
        return Failure(Reason.TOO_MANY_BYTES, f"{locator.length} bytes, more than {max_bytes}")
    data = read_locator(locator, at_most=max_bytes)
    if len(data) > max_bytes:
        return Failure(Reason.TOO_MANY_BYTES, f"more than {max_bytes} bytes")
    return data


def _read_words(view: NativeView, names: Sequence[str]) -> Mapping[str, Row]:
    from flywheel.encoders.ocr import rapid_reader

    return measure_ocr(view, rapid_reader())


def _measure(
    item: MeasureItem,
    budgets: Budgets,
    look: Callable[[bytes, Budgets], View | Failure],
    score: Callable[[View, Sequence[str]], Mapping[str, Row]],
) -> Mapping[str, Row] | Failure:
    if not item.scorers:  # a torn micro-batch had written them all: only the completion is missing
        return {}
    data = read_again(item, budgets)
    if isinstance(data, Failure):
        return data
    view = look(data, budgets)
    return view if isinstance(view, Failure) else score(view, item.scorers)


def read_again(item: Stored, budgets: Budgets) -> bytes | Failure:
    """Read an ingested image again; its bytes must still hash to its name."""
    try:
        data = read_verified(item.image_id, item.locator)
    except FileNotFoundError:
        return Failure(Reason.CONTENT_CHANGED, "the original is gone; see `flywheel verify`")
    except ContentChanged as error:
        return Failure(Reason.CONTENT_CHANGED, str(error))
    except OSError as error:
        return Failure(Reason.UNREADABLE, f"{type(error).__name__}: {error.strerror or error}")
    return data


def read_verified(image_id: str, locator: Locator) -> bytes:
    """The original bytes of an image.

    Raises ContentChanged when they no longer hash to `image_id`, OSError when they cannot be read.
    """
    data = read_locator(locator)
    if content_id(data) != image_id:
        raise ContentChanged(f"{locator.uri} no longer holds image {image_id[:12]}; see `flywheel verify`")
    return data
