"""What a folder or a tar offers to a trainer: images with their captions, edits with their references.

    DIR        pictures, each with `NAME.txt` beside it, or named in a `.jsonl` at the root of the folder
    TAR        WebDataset: members that share a stem are one example

A line of a `.jsonl` says `image` (or `file_name`), `caption` (or `text`, `prompt`) and, for an edit, `references`: paths
below the folder. Everything that is left out is counted, by reason. Nothing outside the folder is read.
"""

from __future__ import annotations

import json
import tarfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from flywheel.errors import UsageError

PICTURES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".avif", ".tif", ".tiff", ".gif", ".bmp"})
_NAMES = {"image": ("image", "file_name"), "caption": ("caption", "text", "prompt")}
_LONGEST_CAPTION = 100_000  # bytes: more is no caption


@dataclass(frozen=True, slots=True, kw_only=True)
class Located:
    """A file, or a range of a tar."""

    path: Path
    offset: int = 0
    length: int | None = None

    def read(self) -> bytes:
        with self.path.open("rb") as file:
            file.seek(self.offset)
            return file.read(-1 if self.length is None else self.length)


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """`key` names it in batches and caches: its place below the source."""

    key: str
    image: Located
    caption: str
    references: tuple[Located, ...] = ()


@dataclass(slots=True)
class Offered:
    """Examples in the order of their keys, and how many pictures were left out for which reason."""

    examples: list[Example] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)


def offered(source: Path) -> Offered:
    """Raises UsageError for what is neither folder nor tar, and for one that offers nothing."""
    if source.is_dir():
        found = _of_folder(source)
    elif source.is_file() and tarfile.is_tarfile(source):
        found = _of_tar(source)
    else:
        raise UsageError(f"{source} is neither a folder nor a tar")
    if not found.examples:
        why = ", ".join(f"{count} {reason}" for reason, count in found.left_out.items()) or "no pictures"
        raise UsageError(f"{source} offers nothing to train on: {why}")
    found.examples.sort(key=lambda example: example.key)
    return found


def _of_folder(root: Path) -> Offered:
    found, named = Offered(), set[Path]()
    for listing in sorted(root.glob("*.jsonl")):
        for line in _lines(listing, found):
            example = _listed(root, line, found)
            if example is not None:
                found.examples.append(example)
                named.update(one.path for one in (example.image, *example.references))
    for path in sorted(root.rglob("*")):
        if path.suffix.lower() not in PICTURES or path in named:
            continue
        if not _is_inside(root, path):
            found.left_out["outside the folder"] += 1
            continue
        caption = _beside(path)
        if caption is None:
            found.left_out["without a caption"] += 1
        else:
            key = path.relative_to(root).as_posix()
            found.examples.append(Example(key=key, image=Located(path=path), caption=caption))
    return found


def _lines(listing: Path, found: Offered) -> Iterator[Mapping[str, Any]]:
    with listing.open(encoding="utf-8", errors="replace") as file:
        for text in file:
            if not text.strip():
                continue
            try:
                line = json.loads(text)
            except ValueError:
                line = None
            if isinstance(line, dict):
                yield line
            else:
                found.left_out["line that is no JSON object"] += 1


def _listed(root: Path, line: Mapping[str, Any], found: Offered) -> Example | None:
    image, caption = (next((line[name] for name in names if name in line), None) for names in _NAMES.values())
    references = line.get("references", [])
    if not isinstance(image, str) or not isinstance(references, list):
        found.left_out["line without an image"] += 1
        return None
    if not isinstance(caption, str) or not caption.strip():
        found.left_out["without a caption"] += 1
        return None
    paths = [root / str(name) for name in (image, *references)]
    if not all(_is_inside(root, path) for path in paths):
        found.left_out["outside the folder"] += 1
        return None
    if not all(path.is_file() for path in paths):
        found.left_out["file is missing"] += 1
        return None
    first, *rest = (Located(path=path) for path in paths)
    key = "+".join([image, *map(str, references)]) if references else image
    return Example(key=key, image=first, caption=caption.strip(), references=tuple(rest))


def _of_tar(source: Path) -> Offered:
    """Members are read where they lie; links and what is not a plain file are no members."""
    pictures: dict[str, Located] = {}
    captions: dict[str, str] = {}
    found = Offered()
    with tarfile.open(source, "r:") as archive:
        for member in archive:
            if not member.isfile():
                continue
            name = PurePosixPath(member.name)
            stem, suffix = str(name.with_suffix("")), name.suffix.lower()
            if suffix in PICTURES:
                pictures[stem] = Located(path=source, offset=member.offset_data, length=member.size)
            elif suffix == ".txt" and member.size <= _LONGEST_CAPTION:
                held = archive.extractfile(member)
                captions[stem] = held.read().decode("utf-8", "replace").strip() if held else ""
    for stem, picture in pictures.items():
        if captions.get(stem):
            found.examples.append(Example(key=stem, image=picture, caption=captions[stem]))
        else:
            found.left_out["without a caption"] += 1
    return found


def _beside(path: Path) -> str | None:
    text = path.with_suffix(".txt")
    if not text.is_file() or text.is_symlink() or text.stat().st_size > _LONGEST_CAPTION:
        return None
    return text.read_text(encoding="utf-8", errors="replace").strip() or None


def _is_inside(root: Path, path: Path) -> bool:
    return path.resolve().is_relative_to(root.resolve())
