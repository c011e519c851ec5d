"""Weights on this machine: which are known, which are here, and how they come: with the program, from a path, from their
publisher. Never at run time.

Beside weights that came from elsewhere lies `NAME.sha256`, in the format of `sha256sum -c`; those of the program have one
SHA256SUMS.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from flywheel.encoders.clip import WEIGHTS, describe, write_config
from flywheel.encoders.heads import convert_head
from flywheel.errors import FlywheelError, UsageError
from flywheel.records import Failure
from flywheel.sums import SUMS, changed, sha256_of, sums_of
from pipelines.profiles import RECIPES, Recipe, bundled_home, find_weights, models_home
from pipelines.published import PUBLISHED, Published
from pipelines.sources.fetch import FetchLimits, download

_TIME_S = 6 * 3600.0  # for one download; our choice
_SUFFIXES = (".safetensors", ".pth")
OnBytes = Callable[[int, int], None]  # bytes there, bytes in all


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """`place` is where they are, `comes` how they get here (bundled, added, pull, add); `profiles` use them."""

    name: str
    place: Path | None
    comes: str
    profiles: tuple[str, ...]
    says: str = ""


@dataclass(frozen=True, slots=True)
class Verified:
    """`wrong`: what is not as it was; empty when all is."""

    name: str
    files: int
    wrong: str


def listed() -> list[Weights]:
    """All weights that a profile uses or that are here, by name."""
    uses = {profile: _used(recipe) for profile, recipe in RECIPES.items()}
    names = {*_lying(models_home()), *_lying(bundled_home()), *(name for used in uses.values() for name in used)}
    return [
        _described(name, tuple(profile for profile, used in uses.items() if name in used)) for name in sorted(names)
    ]


def add(name: str, path: Path) -> Path:
    """Copy weights in under a name, heads as safetensors; where they are now.

    Raises UsageError for what is neither a folder of weights nor a head, and for a name that is taken or no name.
    """
    _free(name)
    if not path.exists():
        raise UsageError(f"nothing is at {path}")
    target, aside = _target(name, path.is_dir()), models_home() / f".{name}.aside"
    _cleared(aside)
    models_home().mkdir(parents=True, exist_ok=True)
    try:
        if path.is_dir():
            _check_folder(path)
            _copy(path, aside)
        else:
            convert_head(path, aside)
    except FlywheelError as error:
        raise UsageError(str(error)) from error
    os.replace(aside, target)
    _write_sums(target)
    return target


def pull(name: str, on_bytes: OnBytes) -> Path:
    """Fetch published weights, hold them to their pinned sha256, put them where the profile looks; where they are now.

    Goes on where an earlier try was cut off. Raises UsageError for what nobody publishes, FlywheelError for what cannot be
    fetched or is not what was pinned.
    """
    published = PUBLISHED.get(name)
    if published is None:
        known = ", ".join(sorted(PUBLISHED))
        raise UsageError(f"no publisher of {name} is known; `flywheel models add {name} PATH`, or pull one of {known}")
    _free(name)
    models_home().mkdir(parents=True, exist_ok=True)
    part = models_home() / f".{name}.part{Path(published.url).suffix}"
    _fetched(published, part, on_bytes)
    target = _target(name, published.architecture is not None)
    if published.architecture is None:
        convert_head(part, target)
        part.unlink()
    else:
        folder = models_home() / f".{name}.aside"
        _cleared(folder)
        folder.mkdir()
        write_config(folder, published.architecture)
        os.replace(part, folder / WEIGHTS)
        os.replace(folder, target)
    _write_sums(target)
    return target


def verify() -> list[Verified]:
    """Every file of all weights here against the sum that was kept of it."""
    found = []
    if (bundled_home() / SUMS).exists():
        found.append(_verified("bundled", bundled_home(), bundled_home() / SUMS))
    for name in _lying(models_home()):
        sums = models_home() / f"{name}.sha256"
        found.append(
            _verified(name, models_home(), sums)
            if sums.exists()
            else Verified(name, 0, "was not added by `models add`")
        )
    return found


def _used(recipe: Recipe) -> set[str]:
    """Names of weights; a captioner with a slash in its name is served, and its server fetches it."""
    named = (recipe.clip, recipe.foreign, recipe.captioner, *recipe.heads.values())
    return {name for name in named if name is not None and "/" not in name}


def _lying(home: Path) -> list[str]:
    if not home.is_dir():
        return []
    lying = [path for path in home.iterdir() if not path.name.startswith(".")]
    return sorted(
        path.name if path.is_dir() else path.stem for path in lying if path.is_dir() or path.suffix in _SUFFIXES
    )


def _described(name: str, profiles: tuple[str, ...]) -> Weights:
    place, published = find_weights(name), PUBLISHED.get(name)
    if place is not None:
        comes = "bundled" if place.is_relative_to(bundled_home()) else "added"
        return Weights(name=name, place=place, comes=comes, profiles=profiles)
    if published is not None:
        says = f"flywheel models pull {name}  ({published.size / 1e6:,.0f} MB, {published.licence})"
        return Weights(name=name, place=None, comes="pull", profiles=profiles, says=says)
    return Weights(name=name, place=None, comes="add", profiles=profiles, says=f"flywheel models add {name} PATH")


def _free(name: str) -> None:
    if not name or name.startswith(".") or "/" in name or "\\" in name:
        raise UsageError(f"{name!r} cannot be a name of weights")
    there = find_weights(name)
    if there is not None:
        raise UsageError(f"{name} is there already: {there}")


def _target(name: str, folder: bool) -> Path:
    return models_home() / (name if folder else f"{name}.safetensors")


def _check_folder(path: Path) -> None:
    """A model of open_clip's, or one of transformers' in safetensors."""
    if (path / "config.json").is_file() and any(path.glob("model*.safetensors")):
        return
    describe(path)


def _copy(path: Path, into: Path) -> None:
    """Weights and configuration of the folder itself, links followed (caches are made of them); code is left."""
    into.mkdir()
    for file in sorted(path.iterdir()):
        if file.is_file() and file.suffix in {".safetensors", ".json", ".txt", ".jinja", ".model"}:
            shutil.copyfile(file, into / file.name)


def _fetched(published: Published, part: Path, on_bytes: OnBytes) -> None:
    limits = FetchLimits(max_bytes=published.size, total_s=_TIME_S)
    if not part.exists() or part.stat().st_size != published.size:
        answer = download(published.url, part, limits, lambda there: on_bytes(there, published.size))
        if isinstance(answer, Failure):
            raise FlywheelError(f"{published.url} cannot be fetched: {answer.detail}; what has come is kept")
    if part.stat().st_size < published.size:
        raise FlywheelError(f"{published.url} ended early; what has come is kept, pull again")
    found = sha256_of(part)
    if found != published.sha256:
        part.unlink()
        raise FlywheelError(f"{published.url} is not what was pinned: its sha256 is {found}, not {published.sha256}")


def _write_sums(target: Path) -> None:
    files = [path for path in target.rglob("*") if path.is_file()] if target.is_dir() else [target]
    name = target.name if target.is_dir() else target.stem
    (models_home() / f"{name}.sha256").write_text(sums_of(files, models_home()), encoding="utf-8")


def _verified(name: str, home: Path, sums: Path) -> Verified:
    kept = sums.read_text(encoding="utf-8")
    return Verified(name, len(kept.splitlines()), "; ".join(changed(home, kept)))


def _cleared(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
