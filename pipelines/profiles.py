"""Profiles: which weights a workspace uses, where they lie, and what abstains because they are missing.

A profile is a recipe of names; `flywheel.toml` may name others. Nothing else in the program knows which one it runs.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Literal

from flywheel.errors import UsageError
from flywheel.workspace import Workspace

HEADS = ("aesthetic", "nsfw", "watermark")
_NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Names of weights; None for none. `foreign` is a head that tells pictures for which these weights must abstain."""

    clip: str | None
    heads: Mapping[str, str | None]
    foreign: str | None
    captioner: str | None
    prompts: Literal["full", "brief"]


RECIPES: Mapping[str, Recipe] = {
    "miniature": Recipe(
        clip="clip-miniature-1",
        heads={name: f"{name}-miniature-1" for name in HEADS},
        foreign="foreign-miniature-1",
        captioner="captioner-miniature-1",
        prompts="brief",
    ),
    "cpu": Recipe(
        clip="clip-vit-b-32-1",
        heads={name: f"{name}-vit-b-32-1" for name in HEADS},
        foreign=None,
        captioner=None,
        prompts="full",
    ),
    "full": Recipe(
        clip="clip-vit-l-14-1",
        heads={name: f"{name}-vit-l-14-1" for name in HEADS},
        foreign=None,
        captioner="Qwen/Qwen3-VL-8B-Instruct",
        prompts="full",
    ),
}


def recipe_of(workspace: Workspace) -> Recipe:
    """The profile's recipe, with what the configuration names instead."""
    recipe, named = RECIPES[workspace.config.workspace.profile], workspace.config.models
    return replace(
        recipe,
        clip=_chosen(named.clip, recipe.clip),
        heads={name: _chosen(getattr(named, name), recipe.heads[name]) for name in HEADS},
        foreign=_chosen(named.foreign, recipe.foreign),
        captioner=_chosen(named.captioner, recipe.captioner),
        prompts=workspace.config.captioner.prompts or recipe.prompts,
    )


def models_home() -> Path:
    """Where weights lie that do not come with the program: FLYWHEEL_MODELS, or a folder of the user's cache."""
    named = os.environ.get("FLYWHEEL_MODELS")
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(named or f"{cache}/flywheel/models").expanduser()


def bundled_home() -> Path:
    """Where the weights lie that come with the program."""
    return Path(str(files("model.miniature"))) / "weights"


def find_weights(name: str | None) -> Path | None:
    """The folder or file of these weights; None where there is none of that name on this machine.

    A name with a slash that is no known name is a path. Raises UsageError for a path where nothing is.
    """
    if name is None:
        return None
    for home in (bundled_home(), models_home()):
        for path in (home / name, home / f"{name}.safetensors", home / f"{name}.pth"):
            if path.exists():
                return path
    if name.startswith(("/", "./", "../", "~")):
        path = Path(name).expanduser()
        if not path.exists():
            raise UsageError(f"flywheel.toml names weights at {path}, where nothing is")
        return path
    return None


def _chosen(named: str | None, usual: str | None) -> str | None:
    return usual if named is None else None if named == _NONE else named
