"""When something happened, as tables keep it."""

from __future__ import annotations

from datetime import UTC, datetime


def now() -> str:
    """UTC to the millisecond, in ISO 8601: such texts sort as their times do."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
