"""Every kind of caption there is, visibly, in the order in which an image is asked: later kinds are held to earlier ones."""

from __future__ import annotations

from collections.abc import Mapping

from captioners.general import GENERAL
from captioners.kind import Kind
from captioners.knowledge import KNOWLEDGE
from captioners.structured import STRUCTURED
from captioners.text import TEXT

CAPTIONERS: Mapping[str, Kind] = {kind.name: kind for kind in (GENERAL, TEXT, KNOWLEDGE, STRUCTURED)}
