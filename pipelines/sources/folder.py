"""Folders and object-store prefixes, walked in a fixed order: files by name, then sub-folders by name.

Every file is an item, whatever its name, so that nothing goes uncounted (html named .jpg, README.md and
Thumbs.db end as `not_an_image` once their bytes are looked at), except:

- names that begin with a dot, files and folders, are passed over;
- a workspace of Flywheel inside the source is passed over whole: its tables and packs are no source;
- `.txt`, `.caption` and `.json` beside a file of the same stem (`a.jpg` or `a.jpg.json`) are its side-cars;
- tars (`.tar`, `.tar.gz`, `.tgz`) are opened, each member an item;
- Parquet files are read as listings where their folder holds nothing but listings and side-cars; any other listing is
  one refused item that says to name it as a source of its own, since it would list the same images again;
- img2dataset folders follow `img2dataset`.

A symlink to a file inside the root is an item of its real path; one that leads out is refused. Symlinks to folders
are never followed: inside the root their files are met anyway, outside is refused.
"""

from __future__ import annotations

import os
import stat
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from urllib.parse import unquote_to_bytes, urlsplit

from flywheel.errors import SourceError
from flywheel.records import Locator, Reason, SourceItem
from flywheel.workspace.places import file_uri, is_local, local_path
from flywheel.workspace.storage import StoredObject, list_objects, read_locator
from pipelines.sources import img2dataset, tabular, tars
from pipelines.sources.items import NO_NOTES, Notes, Place, notes_from_sidecars, read_head, refused, shown

_SIDECARS = (b"txt", b"caption", b"json")
_TARS = (b".tar", b".tar.gz", b".tgz")
_LISTINGS = (b".parquet", b".jsonl", b".ndjson", b".csv", b".tsv", b".arrow")
_FORMAT = b"tables/format.json"  # beside flywheel.toml it marks a workspace
_DOCUMENTS = (b".md", b".json", b".txt", b".yaml", b".yml")


@dataclass(frozen=True, slots=True)
class _Entry:
    """One name of a directory: what is there, or why it is not followed."""

    name: bytes
    stored: StoredObject
    refusal: tuple[Reason, str] | None = None


@dataclass(frozen=True, slots=True)
class _Directory:
    """The files of one directory in order, and the names of its folders. `path` is relative to the root."""

    path: bytes
    files: list[_Entry]
    folders: frozenset[bytes]

    @property
    def names(self) -> frozenset[bytes]:
        return frozenset(entry.name for entry in self.files) | self.folders


def matches(place: Place) -> bool:
    return place.is_folder


def read(place: Place) -> Iterator[SourceItem]:
    """Raises SourceError for a folder that is itself a workspace."""
    directories = _walk_local(local_path(place.uri)) if is_local(place.uri) else _walk_objects(place.uri)
    for directory in directories:
        yield from _directory_items(place, directory)


def _walk_local(root: bytes) -> Iterator[_Directory]:
    pending = [b""]
    while pending:
        path = pending.pop()
        files: list[_Entry] = []
        folders: list[bytes] = []
        here = os.path.join(root, path) if path else root
        try:
            with os.scandir(here) as scanned:
                found = sorted((entry for entry in scanned if not entry.name.startswith(b".")), key=lambda e: e.name)
        except OSError as error:
            stored = StoredObject(uri=file_uri(here), size=0, mtime_ns=0)
            why = (Reason.UNREADABLE, f"the folder cannot be listed: {error.strerror}")
            yield _Directory(os.path.dirname(path), [_Entry(os.path.basename(here), stored, why)], frozenset())
            continue
        if os.path.isfile(os.path.join(here, b"flywheel.toml")) and os.path.isfile(os.path.join(here, _FORMAT)):
            if not path:
                raise _is_workspace(file_uri(root))
            continue
        for entry in found:
            if entry.is_dir(follow_symlinks=False):
                folders.append(entry.name)
            elif (seen := _local_entry(root, entry)) is not None:
                files.append(seen)
        yield _Directory(path, files, frozenset(folders))
        pending.extend(os.path.join(path, name) for name in reversed(folders))


def _is_workspace(uri: str) -> SourceError:
    return SourceError(f"{uri} is a workspace of Flywheel, not a source: name the folder that holds the images")


def _local_entry(root: bytes, entry: os.DirEntry[bytes]) -> _Entry | None:
    """What a name that is not a folder leads to; None for a link to a folder inside the root."""
    path = os.path.realpath(entry.path) if entry.is_symlink() else entry.path
    itself = StoredObject(uri=file_uri(entry.path), size=0, mtime_ns=0)
    if path != root and not path.startswith(root.rstrip(b"/") + b"/"):
        return _Entry(entry.name, itself, (Reason.SYMLINK_OUT_OF_ROOT, "a symlink that leads out of the source"))
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return _Entry(entry.name, itself, (Reason.MISSING, "a symlink to nothing"))
    except OSError as error:
        return _Entry(entry.name, itself, (Reason.UNREADABLE, str(error.strerror)))
    if stat.S_ISDIR(found.st_mode):
        return None
    stored = StoredObject(uri=file_uri(path), size=found.st_size, mtime_ns=found.st_mtime_ns)
    if not stat.S_ISREG(found.st_mode):
        return _Entry(entry.name, stored, (Reason.NOT_AN_IMAGE, "a pipe, socket or device"))
    return _Entry(entry.name, stored)


def _walk_objects(root_uri: str) -> Iterator[_Directory]:
    start = len(unquote_to_bytes(root_uri.rstrip("/"))) + 1
    files: dict[bytes, list[_Entry]] = defaultdict(list)
    folders: dict[bytes, set[bytes]] = defaultdict(set)
    found = [(unquote_to_bytes(stored.uri)[start:], stored) for stored in list_objects(root_uri)]
    paths = {path for path, _ in found}
    workspaces = {path[: -len(_FORMAT)] for path in paths if path.endswith(_FORMAT)}
    workspaces = {folder for folder in workspaces if folder + b"flywheel.toml" in paths}
    if b"" in workspaces:
        raise _is_workspace(root_uri)
    for path, stored in found:
        if any(part.startswith(b".") for part in path.split(b"/")) or path.startswith(tuple(workspaces)):
            continue
        parent, _, name = path.rpartition(b"/")
        files[parent].append(_Entry(name, stored))
        while parent:
            parent, _, folder = parent.rpartition(b"/")
            folders[parent].add(folder)
    for path in sorted(files, key=lambda path: path.split(b"/") if path else []):
        yield _Directory(path, files[path], frozenset(folders[path]))


def _directory_items(place: Place, directory: _Directory) -> Iterator[SourceItem]:
    names = directory.names
    shards = img2dataset.shards_of(names)
    sidecars = _sidecars(directory)
    owned = {entry.name for texts in sidecars.values() for entry in texts.values()}
    listings_only = all(
        entry.name.lower().endswith(_LISTINGS + _DOCUMENTS) for entry in directory.files if entry.refusal is None
    )
    for entry in directory.files:
        name = entry.name.lower()
        if entry.refusal is not None:
            yield _refused(place, directory, entry, *entry.refusal)
        elif entry.name in owned or (shards and img2dataset.is_stats(entry.name)):
            continue
        elif name.endswith(_TARS) and (tar := _opened(place, entry)) is not None:
            yield from tars.read(tar)
        elif name.endswith(b".parquet") and (entry.name[:-8] in shards or listings_only):
            yield from _parquet(place, directory, entry, names, shards)
        elif name.endswith(_LISTINGS):
            why = "a listing inside a folder is not opened: name it as a source of its own"
            yield _refused(place, directory, entry, Reason.NOT_AN_IMAGE, why)
        else:
            yield _item(place, directory, entry, _notes(place, sidecars, entry.name))


def _sidecars(directory: _Directory) -> dict[bytes, dict[str, _Entry]]:
    """Side-cars by the stem or full name of the file that they describe, then by suffix."""
    parted = [(entry, *entry.name.rpartition(b".")[::2]) for entry in directory.files if entry.refusal is None]
    owners = {
        key
        for entry, stem, suffix in parted
        if suffix.lower() not in _SIDECARS
        for key in (stem or entry.name, entry.name)
    }
    found: dict[bytes, dict[str, _Entry]] = defaultdict(dict)
    for entry, stem, suffix in parted:
        if suffix.lower() in _SIDECARS and stem in owners:
            found[stem][suffix.lower().decode()] = entry
    return dict(found)


def _notes(place: Place, sidecars: dict[bytes, dict[str, _Entry]], name: bytes) -> Notes:
    entries = {**sidecars.get(name.rpartition(b".")[0], {}), **sidecars.get(name, {})}
    texts: dict[str, bytes] = {}
    for suffix, entry in entries.items():
        if entry.stored.size <= place.limits.max_sidecar_bytes:
            try:
                texts[suffix] = read_locator(Locator(uri=entry.stored.uri))
            except OSError:
                # An unreadable caption is no reason to lose the image.
                continue
    return notes_from_sidecars(texts, place.limits) if texts else NO_NOTES


def _opened(place: Place, entry: _Entry) -> Place | None:
    """A tar inside the folder as a place of its own; None where its bytes are no tar."""
    try:
        tar = replace(place, stored=entry.stored, head=read_head(entry.stored.uri))
    except OSError:
        return None
    return tar if tars.matches(tar) else None


def _parquet(
    place: Place, directory: _Directory, entry: _Entry, names: frozenset[bytes], shards: frozenset[bytes]
) -> Iterator[SourceItem]:
    listing = replace(place, stored=entry.stored)
    shard = entry.name[:-8]
    try:
        if shard in shards:
            yield from img2dataset.read_parquet(listing, names, shard)
        else:
            yield from tabular.read_parquet(listing)
    except (SourceError, OSError) as error:
        yield _refused(place, directory, entry, Reason.BAD_LISTING, str(error))


def _key(directory: _Directory, entry: _Entry) -> str:
    return shown(directory.path + b"/" + entry.name if directory.path else entry.name)


def _refused(place: Place, directory: _Directory, entry: _Entry, reason: Reason, why: str) -> SourceItem:
    stored = entry.stored
    return refused(place, stored.uri, stored.fingerprint, reason, why, key=_key(directory, entry))


def _item(place: Place, directory: _Directory, entry: _Entry, notes: Notes) -> SourceItem:
    return SourceItem(
        uri=entry.stored.uri,
        fingerprint=entry.stored.fingerprint,
        locator=Locator(uri=entry.stored.uri),
        dataset=place.dataset,
        original_key=_key(directory, entry),
        caption=notes.caption,
        licence=notes.licence,
        metadata_json=notes.metadata_json,
    )


def matches_file(place: Place) -> bool:
    return not place.is_folder


def read_file(place: Place) -> Iterator[SourceItem]:
    """A single file, with the side-cars beside it left alone."""
    name = unquote_to_bytes(urlsplit(place.uri).path).rsplit(b"/", 1)[-1]
    yield _item(place, _Directory(b"", [], frozenset()), _Entry(name, place.stored), NO_NOTES)
