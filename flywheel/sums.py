"""What files were, kept as `sha256sum` writes it and checks it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

SUMS = "SHA256SUMS"  # the usual name of such a file


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sums_of(paths: Iterable[Path], home: Path) -> str:
    """One line a file, by its path below `home`."""
    return "".join(f"{sha256_of(path)}  {path.relative_to(home).as_posix()}\n" for path in sorted(paths))


def changed(home: Path, sums: str) -> list[str]:
    """What is no longer as its line says, in words."""
    wrong = []
    for line in sums.splitlines():
        kept, _, relative = line.partition("  ")
        path = home / relative
        if not path.is_file():
            wrong.append(f"{relative} is gone")
        elif sha256_of(path) != kept:
            wrong.append(f"{relative} has changed")
    return wrong
