"""Settings of a recipe, as they are said on the command line."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, TypeVar, get_type_hints

from flywheel.errors import UsageError

R = TypeVar("R")


def with_settings(recipe: R, settings: Sequence[str]) -> R:
    """`key=value`, nested by dots (`optimizer.lr=3e-4`); values as in JSON; all at once, so that what must fit together may.

    Raises UsageError, in one line.
    """
    wanted: dict[str, Any] = {}
    for setting in settings:
        key, found, text = setting.partition("=")
        if not found:
            raise UsageError(f"a setting is key=value, not {setting!r}")
        *path, name = key.split(".")
        inside = wanted
        for part in path:
            inside = inside.setdefault(part, {})
        inside[name] = _Set(setting, _value(text))
    try:
        return _changed(recipe, wanted)  # type: ignore[no-any-return]
    except (TypeError, ValueError) as error:
        raise UsageError(f"{' '.join(settings)}: {error}") from error


@dataclass(frozen=True, slots=True)
class _Set:
    """A value, and how it was said."""

    said: str
    value: Any


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _changed(record: Any, wanted: Mapping[str, Any]) -> Any:
    known = [one.name for one in fields(record)]
    changes = {}
    for name, change in wanted.items():
        if name not in known:
            raise ValueError(f"no {name!r}; there are {', '.join(known)}")
        present = getattr(record, name)
        if isinstance(change, _Set):
            changes[name] = _fitting(get_type_hints(type(record))[name], present, change)
        elif is_dataclass(present):
            changes[name] = _changed(present, change)
        else:
            raise ValueError(f"{name} has nothing inside")
    return replace(record, **changes)


def _fitting(kind: Any, present: Any, change: _Set) -> Any:
    """A value of the kind that the field has."""
    value = change.value
    if is_dataclass(present):
        raise ValueError(f"{change.said}: it has settings of its own: name one after a dot")
    if isinstance(present, tuple) and present and is_dataclass(present[0]):
        raise ValueError(f"{change.said}: it is a table of its own: write a recipe in Python")
    if isinstance(present, tuple) and isinstance(value, list):
        return tuple(value)
    if isinstance(present, float) and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    allowed = value is None and type(None) in _options(kind)
    if present is not None and type(value) is not type(present) and not allowed:
        raise ValueError(f"{change.said}: it takes {type(present).__name__}, not {value!r}")
    return value


def _options(kind: Any) -> tuple[Any, ...]:
    return tuple(getattr(kind, "__args__", ()))
