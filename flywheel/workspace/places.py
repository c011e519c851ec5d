"""How places are named: `file:///…` (percent-encoded raw bytes, so that any name a file system allows survives) or
`s3://bucket/key` (percent-encoded UTF-8). Pure: nothing here looks whether a place exists.
"""

from __future__ import annotations

import os
from urllib.parse import quote, quote_from_bytes, unquote, unquote_to_bytes, urlsplit

from flywheel.errors import SourceError, UsageError

SAFE = "/:@!$&'()*+,;=~"  # what RFC 3986 allows bare inside a path


def canonical_uri(text: str) -> str:
    """The URI of what a person typed: local paths become absolute file:// URIs, s3:// keeps its scheme.

    Idempotent. Raises UsageError for other schemes and for object URIs with credentials or a query,
    which would otherwise be written into tables.
    """
    if text.startswith("s3://"):
        return _canonical_object_uri(text)
    if text.startswith("file://"):
        return file_uri(local_path(text))
    if "://" in text:
        raise UsageError(f"{text.split('://')[0]}:// is not a place Flywheel stores to; use a local path or s3://")
    return file_uri(os.fsencode(text))


def _canonical_object_uri(text: str) -> str:
    bucket, _, key = text.removeprefix("s3://").partition("/")
    if not bucket or "@" in bucket or "?" in text or "#" in text:
        raise UsageError(
            "write an object store as s3://bucket/prefix (percent-encode ? and #); "
            "credentials and endpoint come from AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_ENDPOINT_URL"
        )
    return object_uri(bucket, unquote(key).strip("/"))


def object_uri(bucket: str, key: str) -> str:
    """s3:// URI of a key (as the store spells it, not percent-encoded)."""
    return f"s3://{bucket}/{quote(key, safe=SAFE)}" if key else f"s3://{bucket}"


def file_uri(path: bytes | str) -> str:
    """file:// URI of a local path, made absolute but not resolved; invalid UTF-8 is kept byte for byte."""
    return "file://" + quote_from_bytes(os.path.abspath(os.fsencode(path)), safe=SAFE)


def local_path(uri: str) -> bytes:
    """The raw path behind a file:// URI of this machine."""
    parts = urlsplit(uri)
    if parts.scheme != "file" or parts.netloc not in ("", "localhost") or parts.query or parts.fragment:
        raise SourceError(f"not a local file URI: {uri}")
    path = unquote_to_bytes(parts.path)
    if b"\0" in path:
        raise SourceError(f"a path cannot hold a NUL byte: {uri}")
    return path


def is_local(uri: str) -> bool:
    return uri.startswith("file://")
