"""What one picture of the world shows, whatever its sort: a frozen record with an identity and a compact JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Self

from flywheel.errors import FlywheelError
from flywheel.seeds import stable_hash


class SubjectError(FlywheelError):
    """Something that the world does not have; the message says what is wrong with it."""


@dataclass(frozen=True)
class Subject:
    """Equal subjects are equal records and have one `subject_id`."""

    @cached_property
    def subject_id(self) -> str:
        return stable_hash([type(self).__name__, asdict(self)])

    def to_json(self) -> str:
        """Compact, as a grammar without white space makes a captioner write."""
        return json.dumps(asdict(self), ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Raises SubjectError for anything but this subject's JSON."""
        try:
            return cls.from_dict(json.loads(text))
        except (ValueError, KeyError, TypeError) as error:
            raise SubjectError(f"not a {cls.__name__.lower()}: {error}") from error

    @classmethod
    def from_dict(cls, read: Mapping[str, Any]) -> Self:
        """The inverse of `asdict`; whatever it raises of ValueError, KeyError and TypeError is a wrong text."""
        return cls(**read)
