"""Libraries of the extra `model`: heavy, and only needed where a model runs."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from flywheel.errors import FlywheelError


def imported(module: str) -> Any:
    """The module. Raises FlywheelError, saying what to install, where it is not there."""
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise FlywheelError(f"{error.name} is not installed: pip install 'flywheel-t2i[model]'") from error
