"""Packs: content-addressed uncompressed tars for bytes that must be copied.

A pack is named by the sha256 of its own bytes and holds members named `<image_id>.<suffix>` in order of
image_id, with every other header field fixed. Equal items therefore give an equal pack, whoever writes it,
and a killed writer's repeat finds its work done. Any tar tool and `webdataset` read it.
"""

from __future__ import annotations

import hashlib
import re
import tarfile
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from flywheel.records import Locator
from flywheel.workspace.storage import Store, open_uri, read_locator

# Design section 4: packs hold at most 1 GB.
PACK_LIMIT_BYTES = 1_000_000_000
_BLOCK = tarfile.BLOCKSIZE
_END_BYTES = 2 * _BLOCK
_IMAGE_ID = re.compile(r"[0-9a-f]{64}")
_SUFFIX = re.compile(r"[a-z0-9]{1,8}")


@dataclass(frozen=True, slots=True)
class _Member:
    """One future member: its bytes are asked for only while it is being written."""

    image_id: str
    suffix: str
    length: int
    data: Callable[[], bytes]

    @property
    def name(self) -> str:
        return f"{self.image_id}.{self.suffix}"

    @property
    def span(self) -> int:
        return _BLOCK + self.length + _padding(self.length)


def _padding(length: int) -> int:
    return -length % _BLOCK


def write_pack(
    store: Store, items: Sequence[tuple[str, bytes, str]], limit_bytes: int = PACK_LIMIT_BYTES
) -> dict[str, Locator]:
    """Store items (image_id, bytes, suffix) in as few packs as the limit allows; where each lies now.

    Writing the same items again touches nothing. Raises ValueError for an image_id that is not 64 hex digits,
    a suffix that is not plain, or an item that no pack can hold.
    """
    unique = {image_id: (data, suffix) for image_id, data, suffix in items}
    pending = [
        _Member(image_id, suffix, len(data), lambda data=data: data)  # type: ignore[misc]
        for image_id, (data, suffix) in sorted(unique.items())
    ]
    return _write(store, pending, limit_bytes)


def members(pack_uri: str) -> dict[str, Locator]:
    """What a pack holds, by image_id, in the pack's order. Raises FileNotFoundError."""
    with open_uri(pack_uri) as stream, tarfile.open(fileobj=stream, mode="r:") as tar:
        return {
            entry.name.split(".")[0]: Locator(
                uri=pack_uri, member=entry.name, offset=entry.offset_data, length=entry.size
            )
            for entry in tar
        }


def rewrite_without(store: Store, pack_uri: str, image_ids: Collection[str]) -> dict[str, Locator]:
    """Copy a pack without some images; returns where the others lie now.

    The old pack is left alone: commit the new locators first, then `store.delete` the old one. Where none of
    the images was in the pack, the locators still point into it; where nothing is left, the result is empty.
    """
    held = members(pack_uri)
    if not held.keys() & set(image_ids):
        return held
    pending = [
        _Member(image_id, str(at.member).split(".")[1], at.length or 0, lambda at=at: read_locator(at))  # type: ignore[misc]
        for image_id, at in held.items()
        if image_id not in image_ids
    ]
    return _write(store, pending, PACK_LIMIT_BYTES)


def _write(store: Store, pending: Sequence[_Member], limit_bytes: int) -> dict[str, Locator]:
    placed: dict[str, Locator] = {}
    for group in _groups(pending, limit_bytes):
        digest = hashlib.sha256()
        for chunk in _tar_chunks(group):
            digest.update(chunk)
        sha256 = digest.hexdigest()
        relpath = f"packs/{sha256[:2]}/{sha256}.tar"
        if not store.exists(relpath):
            store.write_new(relpath, _tar_chunks(group))
        placed.update(_locators(store.uri_of(relpath), group))
    return placed


def _groups(pending: Iterable[_Member], limit_bytes: int) -> Iterator[list[_Member]]:
    group: list[_Member] = []
    used = _END_BYTES
    for member in pending:
        if not _IMAGE_ID.fullmatch(member.image_id) or not _SUFFIX.fullmatch(member.suffix):
            raise ValueError(f"not a pack member: {member.name!r}")
        if member.span + _END_BYTES > limit_bytes:
            raise ValueError(f"{member.name} has {member.length} bytes, more than a pack of {limit_bytes} can hold")
        if group and used + member.span > limit_bytes:
            yield group
            group, used = [], _END_BYTES
        group.append(member)
        used += member.span
    if group:
        yield group


def _tar_chunks(group: Iterable[_Member]) -> Iterator[bytes]:
    for member in group:
        header = tarfile.TarInfo(member.name)
        header.size = member.length
        header.mode = 0o644
        yield header.tobuf(format=tarfile.USTAR_FORMAT)
        yield member.data()
        yield bytes(_padding(member.length))
    yield bytes(_END_BYTES)


def _locators(pack_uri: str, group: Iterable[_Member]) -> Iterator[tuple[str, Locator]]:
    offset = 0
    for member in group:
        locator = Locator(uri=pack_uri, member=member.name, offset=offset + _BLOCK, length=member.length)
        yield member.image_id, locator
        offset += member.span
