"""A captioner that says what a test wants, and remembers what it was asked."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from captioners import CAPTIONERS
from flywheel.encoders.vlm import Ask, Refused, Told


class Scripted:
    """Answers every kind soundly, but for what `amiss` says of a request (by its number)."""

    name = "scripted"

    def __init__(self, amiss: Callable[[Ask, int], Told | Refused | None] = lambda ask, before: None) -> None:
        self.asked: list[Ask] = []
        self._amiss = amiss

    def answers(self, asks: Sequence[Ask], on_wait: Callable[[str], None]) -> list[Told | Refused]:
        told = []
        for ask in asks:
            told.append(self._amiss(ask, len(self.asked)) or says(SOUND[kind_of(ask)]))
            self.asked.append(ask)
        return told


SOUND: dict[str, Any] = {
    "general": {"caption": "A red star on white."},
    "text": {"layout": "sign", "lines": ["SUN"]},
    "knowledge": {"caption": "The star of Velmora.", "facts": ["name"]},
    "structured": {
        "background": "white",
        "entities": [{"name": "star", "attributes": ["red"], "place": "center"}],
        "relations": [],
    },
}


def says(payload: Any, finish: Any = "stop") -> Told:
    return Told(text=json.dumps(payload), finish=finish, prompt_tokens=20, completion_tokens=5, seconds=0.1)


def kind_of(ask: Ask) -> str:
    return next(name for name, kind in CAPTIONERS.items() if ask.prompt.startswith(kind.asks["brief"]))
