"""What a folder, a tar or a data set offers to a trainer: images with their captions, edits with their references.

    DIR, TAR   pictures, each with `NAME.txt` beside it, or named in a `.jsonl`
    DATASET    a folder that Hugging Face `datasets` saved: rows with a picture and a caption

A line or row says its image, its caption and, for an edit, its references, under one of the names below; a line's paths are
below the listing's folder. Everything that is left out is counted, by reason. Nothing outside the source is read.
"""

from __future__ import annotations

import json
import os
import posixpath
import tarfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from flywheel.errors import UsageError
from flywheel.records import CAPTION_KEYS

PICTURES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".avif", ".tif", ".tiff", ".gif", ".bmp"})
# The target of an edit goes first: beside an edited image, `image` may be what it was made from.
IMAGE_KEYS = ("edited_image", "target_image", "target", "image", "file_name")
REFERENCE_KEYS = ("references", "input_image", "source_image", "original_image", "source")
SAID_KEYS = ("instruction", "edit_instruction", "edit_prompt", *CAPTION_KEYS)
_LONGEST_CAPTION = 100_000  # bytes: more is no caption


class Readable(Protocol):
    def read(self, at_most: int) -> bytes:
        """The bytes, one more than `at_most` where there are more. Raises OSError where they are gone."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Located:
    """A file, or a range of a tar."""

    path: Path
    offset: int = 0
    length: int | None = None

    def read(self, at_most: int) -> bytes:
        with self.path.open("rb") as file:
            # What is left: asking for a whole budget would allocate it first.
            left = self.length if self.length is not None else file.seek(0, os.SEEK_END)
            file.seek(self.offset)
            return file.read(min(left, at_most + 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """`key` names it among all of its source, and in noise: its place there."""

    key: str
    image: Readable
    caption: str
    references: tuple[Readable, ...] = ()


@dataclass(slots=True)
class Offered:
    """Examples in the order of their keys, and how many pictures were left out for which reason."""

    examples: list[Example] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)


def together(sources: Sequence[Offered]) -> Offered:
    """All that several sources offer; of more than one, keys begin with the source's number."""
    if len(sources) == 1:
        return sources[0]
    found = Offered()
    for number, source in enumerate(sources):
        found.examples += [replace(example, key=f"{number} {example.key}") for example in source.examples]
        found.left_out.update(source.left_out)
    return found


def offered(source: Path, captioned: bool = True) -> Offered:
    """Without `captioned`, pictures that nobody has told of count too: an autoencoder needs no words.

    Raises UsageError for what is none of the three, and for one that offers nothing.
    """
    from model.data.rows import is_dataset, of_dataset

    if source.is_dir() and is_dataset(source):
        found = of_dataset(source, captioned)
    elif source.is_dir():
        found = _of_members(*_in_folder(source), captioned)
    elif source.is_file() and tarfile.is_tarfile(source):
        found = _of_members(*_in_tar(source), captioned)
    else:
        raise UsageError(f"{source} is neither a folder nor a tar")
    if not found.examples:
        why = ", ".join(f"{count} {reason}" for reason, count in found.left_out.items()) or "no pictures"
        raise UsageError(f"{source} offers nothing to train on: {why}")
    found.examples.sort(key=lambda example: example.key)
    return found


def first_of(fields: Mapping[str, Any], keys: tuple[str, ...]) -> Any:
    """The value of the first key that has one."""
    return next((fields[key] for key in keys if fields.get(key) is not None), None)


def _in_folder(root: Path) -> tuple[dict[str, Located], Counter[str]]:
    """Files by their place below the root; links that lead out of it are none."""
    found, left_out = dict[str, Located](), Counter[str]()
    home = root.resolve()
    for path in sorted(root.rglob("*")):
        if path.is_dir():
            continue
        if path.resolve().is_relative_to(home):
            found[path.relative_to(root).as_posix()] = Located(path=path)
        elif path.suffix.lower() in PICTURES:
            left_out["outside the folder"] += 1
    return found, left_out


def _in_tar(source: Path) -> tuple[dict[str, Located], Counter[str]]:
    """Members are read where they lie; links and what is not a plain file are no members."""
    with tarfile.open(source, "r:") as archive:
        plain = [member for member in archive if member.isfile()]
    return {one.name: Located(path=source, offset=one.offset_data, length=one.size) for one in plain}, Counter()


def _of_members(members: Mapping[str, Located], left_out: Counter[str], captioned: bool) -> Offered:
    found, named = Offered(left_out=left_out), set[str]()
    for listing in (name for name in members if name.lower().endswith(".jsonl")):
        for line in _lines(members[listing], found):
            example = _listed(members, posixpath.dirname(listing), line, found)
            if example is not None:
                found.examples.append(example)
                named.update(_names_of(line, posixpath.dirname(listing)))
    for name, picture in members.items():
        path = PurePosixPath(name)
        if path.suffix.lower() not in PICTURES or name in named:
            continue
        caption = _beside(members.get(str(path.with_suffix(".txt"))))
        if caption is None and captioned:
            found.left_out["without a caption"] += 1
        else:
            found.examples.append(Example(key=name, image=picture, caption=caption or ""))
    return found


def _lines(listing: Located, found: Offered) -> Iterator[Mapping[str, Any]]:
    for text in _text(listing, 1 << 40).splitlines():
        if not text.strip():
            continue
        try:
            line = json.loads(text)
        except (ValueError, RecursionError):
            line = None
        if isinstance(line, dict):
            yield line
        else:
            found.left_out["line that is no JSON object"] += 1


def _names_of(line: Mapping[str, Any], folder: str) -> list[str]:
    """The image and its references, as names of members; what leads out of the source keeps its dots."""
    references = first_of(line, REFERENCE_KEYS) or []
    listed = [first_of(line, IMAGE_KEYS), *(references if isinstance(references, list) else [references])]
    return [posixpath.normpath(posixpath.join(folder, str(name))) for name in listed]


def _listed(members: Mapping[str, Located], folder: str, line: Mapping[str, Any], found: Offered) -> Example | None:
    caption = first_of(line, SAID_KEYS)
    if not isinstance(first_of(line, IMAGE_KEYS), str):
        found.left_out["line without an image"] += 1
        return None
    if not isinstance(caption, str) or not caption.strip():
        found.left_out["without a caption"] += 1
        return None
    names = _names_of(line, folder)
    if any(name.startswith(("../", "/")) for name in names):
        found.left_out["outside the folder"] += 1
        return None
    if not all(name in members for name in names):
        found.left_out["file is missing"] += 1
        return None
    first, *rest = (members[name] for name in names)
    return Example(key="+".join(names), image=first, caption=caption.strip(), references=tuple(rest))


def _beside(caption: Located | None) -> str | None:
    text = _text(caption, _LONGEST_CAPTION) if caption is not None else ""
    return text.strip() or None if len(text) <= _LONGEST_CAPTION else None


def _text(place: Located, at_most: int) -> str:
    return place.read(at_most).decode("utf-8-sig", "replace")
