"""Which column of a user's table says what."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from flywheel.errors import UsageError

Usual = Mapping[str, tuple[str, ...]]  # of a field: the names that its column goes by; the first that is there counts


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """`named`: the column of a field, where it is not called as usual. `scale`: the worst and the best score."""

    named: Mapping[str, str] = field(default_factory=dict)
    scale: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        """Raises UsageError for a scale without length."""
        if self.scale[0] == self.scale[1]:
            raise UsageError("a scale goes from its worst to its best number, as 1:5")

    def values(self, row: Mapping[str, Any], usual: Usual, place: str) -> dict[str, Any]:
        """By field; None where the row has nothing to say.

        Raises UsageError for a field that is none, and a named column that is not there.
        """
        if unknown := self.named.keys() - usual.keys():
            raise UsageError(f"{', '.join(sorted(unknown))}: no such field; there are {', '.join(usual)}")
        return {name: self._value(row, name, names, place) for name, names in usual.items()}

    def _value(self, row: Mapping[str, Any], name: str, names: tuple[str, ...], place: str) -> Any:
        if name in self.named:
            column = self.named[name]
            if column not in row:
                raise UsageError(f"{place}: no column {column!r}; there are {', '.join(map(str, row))}")
            found = row[column]
        else:
            found = next((row[usual] for usual in names if usual in row), None)
        return None if found is None or found == "" else found


def whole(value: Any, what: str, place: str) -> int | None:
    """Raises UsageError for what is no whole number; None stays None."""
    try:
        return None if value is None else int(value)
    except (TypeError, ValueError) as error:
        raise UsageError(f"{place}: {what} is a whole number, not {value!r}") from error


def listed(value: Any) -> list[str]:
    """A list, or a text that separates its parts by ; | or a comma."""
    if value is None:
        return []
    parts = value if isinstance(value, list | tuple) else re.split(r"[;|,]", str(value))
    return [str(part).strip() for part in parts if str(part).strip()]
