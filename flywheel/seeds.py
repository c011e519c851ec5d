"""Identity by hashing: everything that names a row is computed here."""

from __future__ import annotations

import hashlib
import json
from typing import Any


def content_id(data: bytes | bytearray | memoryview) -> str:
    """sha256 of the bytes: the only identity an image has."""
    return hashlib.sha256(data).hexdigest()


def source_id(uri: str, fingerprint: str) -> str:
    """One sighting: the same place with the same size and time is the same sighting."""
    return hashlib.sha256(f"{uri}\n{fingerprint}".encode("utf-8", "surrogatepass")).hexdigest()


def stable_hash(value: Any, length: int = 16) -> str:
    """Hash of a JSON-able value, independent of dict order; `length` hex digits."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:length]
