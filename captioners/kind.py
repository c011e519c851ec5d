"""What a kind of caption is, and what is known of an image before anybody writes one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Style = Literal["full", "brief"]
Payload = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What is known of an image before it is captioned, and what a caption is held to.

    `read` is what an independent OCR read, in reading order; None where it abstains (not run, or a script that it cannot
    read). `facts` come from metadata or a fact base. `general` is the accepted general caption, None without one.
    """

    domain: str
    read: str | None = None
    facts: Mapping[str, str | int | float] = field(default_factory=dict)
    general: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one check found. `ok` is None where it abstains; `value` is its measure, where it has one."""

    check: str
    ok: bool | None
    says: str = ""
    value: float | None = None


Check = Callable[[Payload, Given], Finding]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of caption. A new one is one file and one line in CAPTIONERS.

    `asks` are the words of the request: `full` for a model that follows instructions, `brief` for one that was trained on
    these very words. `schema` bounds no length: guided decoding is not valid with such bounds everywhere. `serves` says
    whether an image gets this kind at all, `text` what a payload says as one text, `writes` the language
    that is asked for (None: the picture's). `checks` come after those that all
    kinds share (`captioners.verification`), in order.
    """

    name: str
    asks: Mapping[Style, str]
    schema: Mapping[str, Any]
    max_tokens: int
    serves: Callable[[Given], bool]
    text: Callable[[Payload], str]
    writes: str | None = "en"
    takes_facts: bool = False
    checks: Sequence[Check] = ()


def record(**properties: Mapping[str, Any]) -> dict[str, Any]:
    """The schema of an object with exactly these properties."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


STRING: Mapping[str, Any] = {"type": "string"}
STRINGS: Mapping[str, Any] = {"type": "array", "items": STRING}
