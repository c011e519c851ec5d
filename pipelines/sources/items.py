"""What every reader shares: limits, the place being read, and text that is safe to store."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, quote_from_bytes, unquote_to_bytes, urlsplit

from flywheel.records import CAPTION_KEYS, Locator, Reason, SourceItem
from flywheel.workspace.places import is_local
from flywheel.workspace.storage import StoredObject, open_uri

HEAD_BYTES = 4096

LICENCE_KEYS = ("license", "licence")
KEY_KEYS = ("__key__", "key", "image_id", "id")


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceLimits:
    """How sources are read: the bounds on what is taken into memory before anybody judged it (our choice).

    `dataset`: the name to give every item, instead of the source's own.

    `max_bytes`: bytes carried inline (gz members, Parquet cells); more is refused unread.
    `max_sidecar_bytes`: a caption or metadata file, and one JSONL line. `max_caption_chars`: the rest is cut.
    `max_gz_ratio`: unpacked to packed bytes of a gz tar, looked at once `gz_grace_bytes` are unpacked.
    `batch_rows`: rows of a listing held at once. `batch_inline_rows`: the same where rows carry image bytes.
    """

    dataset: str | None = None
    max_bytes: int = 64 << 20
    max_sidecar_bytes: int = 1 << 20
    max_caption_chars: int = 20_000
    max_gz_ratio: float = 200.0
    gz_grace_bytes: int = 256 << 20
    batch_rows: int = 1024
    batch_inline_rows: int = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A source as the person named it, resolved: what a reader is given.

    `head` holds the first bytes of a file.
    """

    stored: StoredObject
    dataset: str
    limits: SourceLimits
    head: bytes = b""

    @property
    def uri(self) -> str:
        return self.stored.uri

    @property
    def is_folder(self) -> bool:
        return self.stored.is_folder


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One kind of source: how it is recognised and how it is read."""

    says: str
    matches: Callable[[Place], bool]
    read: Callable[[Place], Iterator[SourceItem]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Notes:
    """What side-cars or columns say about an image."""

    caption: str | None = None
    licence: str | None = None
    metadata_json: str | None = None
    key: str | None = None


NO_NOTES = Notes()
FACTS = "facts"


def clean_text(value: object, max_chars: int) -> str | None:
    """Text that Arrow and SQL can hold: no lone surrogates, no NUL, bounded; None for nothing."""
    if value is None:
        return None
    text = str(value).encode("utf-8", "replace").decode("utf-8").replace("\0", "").strip()
    return text[:max_chars] or None


def shown(name: bytes) -> str:
    """A raw name as valid, unambiguous text, for the columns that people read."""
    return name.decode("utf-8", "backslashreplace")


def notes_from_fields(fields: Mapping[str, Any], limits: SourceLimits, taken: frozenset[str] = frozenset()) -> Notes:
    """Caption, licence and key by their common names; every other scalar field goes to metadata.

    `taken` names fields that are already used (the place, the bytes). Lists, objects and bytes are left out, but for the
    plain values of an object called `facts`: what a captioner may state though no pixel shows it.
    """

    def first(keys: tuple[str, ...]) -> tuple[str | None, str | None]:
        lowered = {name.lower(): name for name in reversed(list(fields)) if name not in taken}
        for key in keys:
            value = clean_text(fields[lowered[key]], limits.max_caption_chars) if key in lowered else None
            if value is not None:
                return lowered[key], value
        return None, None

    caption_name, caption = first(CAPTION_KEYS)
    licence_name, licence = first(LICENCE_KEYS)
    _, key = first(KEY_KEYS)
    used = taken | {name for name in (caption_name, licence_name) if name}
    rest = {name: scalar(value) for name, value in fields.items() if name not in used}
    kept: dict[str, Any] = {clean_text(name, 200) or "_": value for name, value in rest.items() if value is not None}
    facts = fields.get(FACTS) if FACTS not in taken else None
    if isinstance(facts, Mapping):
        known = {clean_text(name, 200): scalar(value) for name, value in facts.items()}
        kept[FACTS] = {name: value for name, value in known.items() if name and value is not None}
    # Facts stay in the order that their author gave them: a captioner reads them so.
    metadata = json.dumps(dict(sorted(kept.items())), ensure_ascii=False) if kept else None
    if metadata is not None and len(metadata) > limits.max_sidecar_bytes:
        metadata = None
    return Notes(caption=caption, licence=licence, metadata_json=metadata, key=key)


def scalar(value: Any) -> str | int | float | bool | None:
    """A value as JSON can hold it, or None for what is not a scalar."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, bytes | bytearray | list | tuple | dict | set):
        return None
    return clean_text(value, 100_000)


def notes_from_sidecars(texts: Mapping[str, bytes], limits: SourceLimits) -> Notes:
    """Notes from side-car bytes by suffix (txt, caption, json). A text file's caption wins over the JSON's."""
    fields: Mapping[str, Any] = {}
    if "json" in texts:
        try:
            parsed = json.loads(texts["json"])
        except (ValueError, RecursionError):
            parsed = None
        fields = parsed if isinstance(parsed, dict) else {}
    notes = notes_from_fields(fields, limits)
    for suffix in ("txt", "caption"):
        if suffix in texts:
            caption = clean_text(texts[suffix].decode("utf-8-sig", "replace"), limits.max_caption_chars)
            if caption is not None:
                return Notes(caption=caption, licence=notes.licence, metadata_json=notes.metadata_json, key=notes.key)
    return notes


def with_fragment(uri: str, part: str | bytes) -> str:
    """The URI of a part of an object: unique, and never a URI that can be opened by accident."""
    raw = part if isinstance(part, bytes) else part.encode("utf-8", "surrogateescape")
    return f"{uri}#{quote_from_bytes(raw, safe='/=')}"


def refused(
    place: Place, uri: str, fingerprint: str, reason: Reason, detail: str, key: str | None = None
) -> SourceItem:
    """An item that listing alone settled."""
    return SourceItem(
        uri=uri,
        fingerprint=fingerprint,
        locator=Locator(uri=uri.split("#")[0]),
        dataset=place.dataset,
        original_key=key,
        refused=reason,
        detail=clean_text(detail, 500),
    )


def read_head(uri: str) -> bytes:
    with open_uri(uri) as stream:
        return stream.read(HEAD_BYTES)


def stem_of(uri: str) -> str:
    """The default dataset name: the last part of a URI without its suffixes."""
    name = shown(unquote_to_bytes(urlsplit(uri).path.rstrip("/").rsplit("/", 1)[-1])) or urlsplit(uri).netloc
    return (
        re.sub(r"(?<=.)\.(tar|tgz|gz|tar\.gz|parquet|jsonl|ndjson|csv|tsv|json|arrow)$", "", name, flags=re.I) or "root"
    )


def parent_uri(uri: str) -> str:
    return uri.rsplit("/", 1)[0]


def child_uri(folder_uri: str, name: str) -> str:
    """The URI of a name inside a folder; names come from the file system or a checked listing."""
    raw = os.fsencode(name) if is_local(folder_uri) else name.encode()
    return f"{folder_uri.rstrip('/')}/{quote(raw, safe='/:@!$&()*+,;=~' + chr(39))}"
