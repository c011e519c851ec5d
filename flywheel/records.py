"""The records that cross a border: small, frozen, typed.

A record flows one way: `SourceItem` (a place where bytes are said to be) -> `ImageFacts`
(bytes that decoded) -> score rows -> verdicts (derived, never stored).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self


class Status(StrEnum):
    """How one subject ended in one step."""

    OK = "ok"
    KNOWN = "known"
    REJECTED = "rejected"
    QUARANTINED = "quarantined"


# Names that a caption goes by in side-cars, listings and data sets; the first that is there counts.
CAPTION_KEYS = ("caption", "text", "raw_caption", "prompt")


class Reason(StrEnum):
    """The closed list of reasons. Rejections are final, quarantines may be retried."""

    # rejected: looking again cannot help
    EMPTY = "empty"
    NOT_AN_IMAGE = "not_an_image"
    UNSUPPORTED_FORMAT = "unsupported_format"
    TRUNCATED = "truncated"
    BROKEN = "broken"
    TOO_MANY_BYTES = "too_many_bytes"
    TOO_MANY_PIXELS = "too_many_pixels"
    SIDE_TOO_LONG = "side_too_long"
    SYMLINK_OUT_OF_ROOT = "symlink_out_of_root"
    UNSAFE_MEMBER_PATH = "unsafe_member_path"
    BAD_LISTING = "bad_listing"
    MISSING = "missing"
    ADDRESS_REFUSED = "address_refused"
    HTTP_REFUSED = "http_refused"
    OPTED_OUT = "opted_out"
    FORGOTTEN = "forgotten"
    OUT_OF_DOMAIN = "out_of_domain"
    CAPTION_REFUSED = "caption_refused"
    GENERATION_REFUSED = "generation_refused"
    # quarantined: worth another try
    DECODER_DIED = "decoder_died"
    DECODER_TIMED_OUT = "decoder_timed_out"
    UNREADABLE = "unreadable"
    CONTENT_CHANGED = "content_changed"
    FETCH_TIMED_OUT = "fetch_timed_out"
    FETCH_FAILED = "fetch_failed"
    SCORER_FAILED = "scorer_failed"
    CAPTION_FAILED = "caption_failed"
    GENERATION_FAILED = "generation_failed"

    @property
    def retryable(self) -> bool:
        return self in _RETRYABLE


_RETRYABLE = frozenset(
    {
        Reason.DECODER_DIED,
        Reason.DECODER_TIMED_OUT,
        Reason.UNREADABLE,
        Reason.CONTENT_CHANGED,
        Reason.FETCH_TIMED_OUT,
        Reason.FETCH_FAILED,
        Reason.SCORER_FAILED,
        Reason.CAPTION_FAILED,
        Reason.GENERATION_FAILED,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Locator:
    """Where bytes lie: a whole object, or `length` bytes at `offset` inside a tar.

    `uri` is file://, s3:// (any object store pyarrow opens), or http(s)://.
    `offset` and `length` are in bytes; both None mean the whole object.
    """

    uri: str
    member: str | None = None
    offset: int | None = None
    length: int | None = None

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Self:
        """From columns of those names, as the table `images` has them."""
        return cls(uri=row["uri"], member=row["member"], offset=row["offset"], length=row["length"])


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceItem:
    """One place where an image is said to be, before anybody looked at the bytes.

    `fingerprint` is size+mtime, an ETag, or "" for a URL that was not fetched yet.
    `refused` is set when listing alone already settles the item (a symlink out of the root).
    `copy` is true when the bytes cannot be referenced later (gz tars, URLs).
    `inline` carries the bytes of members that only a stream can give (gz tars, Parquet bytes).
    """

    uri: str
    fingerprint: str
    locator: Locator
    dataset: str
    original_key: str | None = None
    caption: str | None = None
    licence: str | None = None
    metadata_json: str | None = None
    refused: Reason | None = None
    detail: str | None = None
    copy: bool = False
    inline: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFacts:
    """What the bytes themselves say. Sides are after EXIF orientation, in pixels."""

    image_id: str
    format: str
    mode: str
    width_px: int
    height_px: int
    exif_orientation: int
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Budgets:
    """Limits checked from the header, before a pixel is decoded."""

    max_bytes: int = 64 << 20
    max_pixels: int = 64_000_000
    max_side_px: int = 30_000
    decode_s: float = 20.0
    child_memory_bytes: int = 1_400 << 20


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an item did not become what it was meant to become."""

    reason: Reason
    detail: str

    @property
    def status(self) -> Status:
        return Status.QUARANTINED if self.reason.retryable else Status.REJECTED
