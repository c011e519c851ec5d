"""The image model that comes with the program: the miniature, which knows its rendered world alone."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

NAME = "miniature-base"


def bundled_model() -> Path:
    return Path(str(files("model.miniature") / "weights" / NAME))
