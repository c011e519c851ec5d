"""The image model that comes with the program: the miniature, which knows its rendered world alone."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from flywheel.errors import UsageError

NAME = "miniature-base"


def bundled_condition() -> tuple[Path, Path]:
    """Its condition encoder and its processor, which are there before the generator is trained."""
    return _home() / "text_encoder", _home() / "processor"


def bundled_model() -> Path:
    """Raises UsageError where none came with the program."""
    place = _home()
    if not (place / "model_index.json").is_file():
        raise UsageError("no image model comes with this version: give --model FOLDER, as diffusers has them")
    return place


def _home() -> Path:
    return Path(str(files("model.miniature") / "weights" / NAME))
