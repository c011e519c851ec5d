"""Asking a vision-language model: the records and the protocol. Who answers is `vlm_local` or `vlm_server`.

Text in a picture is data: what a model is asked comes from `Ask.prompt` alone, and what it may answer from `Ask.schema`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One question. `image` is an encoded picture (PNG or JPEG), which comes before the prompt.

    `schema` guides decoding: the answer is compact JSON of that shape. Equal asks with one seed have one answer wherever a
    model is deterministic.
    """

    image: bytes | None
    prompt: str
    schema: Mapping[str, Any] | None
    max_tokens: int
    temperature: float = 0.0
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """An answer. `finish` is "length" where the token limit cut it off. `seconds`: from asking to having it all."""

    text: str
    finish: Literal["stop", "length"]
    prompt_tokens: int
    completion_tokens: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Refused:
    """No answer. Asking again may help where the server stumbled (`again`), not where the question itself was wrong."""

    detail: str
    again: bool = False


Waiting = Callable[[str], None]  # told what is waited for, about once a second


class VisionLanguageModel(Protocol):
    @property
    def name(self) -> str:
        """Names the weights that answer."""
        ...

    def answers(self, asks: Sequence[Ask], on_wait: Waiting) -> list[Told | Refused]:
        """In the order asked. Asks of one picture are best given one after the other: its encoding is reused.

        Raises ServerDown where nobody answers for longer than the client was told to wait.
        """
        ...
