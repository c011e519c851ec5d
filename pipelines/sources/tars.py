"""WebDataset tars, plain or gz: streamed, never extracted.

Consecutive members with equal key (the name up to the first dot of its last part) form one sample. `.txt`,
`.caption` and `.json` members are side-cars that give caption, licence and metadata; every other regular member is
an item, so that nothing in the tar goes uncounted. A side-car whose sample has no image is counted as
`not_an_image`. Folders and names that begin with a dot are passed over.

Members of a plain tar are referenced by offset and length. Members of a gz tar cannot be, so they carry
their bytes and are to be copied. Damage ends the reading with one refused item that names the tar.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from flywheel.records import Locator, Reason, SourceItem
from flywheel.workspace.storage import open_uri
from pipelines.sources.items import (
    NO_NOTES,
    Notes,
    Place,
    notes_from_sidecars,
    refused,
    shown,
    with_fragment,
)
from pipelines.sources.tarwalk import BLOCK_BYTES, GzTar, Kind, PlainTar, TarBroken, TarMember, parse_header, walk

_GZ_MAGIC = b"\x1f\x8b"
_SIDECARS = frozenset({"txt", "caption", "json"})
# Our choice: a sample with more members, or more bytes held than one member may have, is handed out in parts.
_MAX_SAMPLE_MEMBERS = 64


def matches(place: Place) -> bool:
    """Whether the bytes are a tar or a gz tar; an all-zero block counts only under the name .tar."""
    if place.is_folder:
        return False
    head = place.head
    if head.startswith(_GZ_MAGIC):
        try:
            head = zlib.decompressobj(wbits=31).decompress(head, BLOCK_BYTES)
        except zlib.error:
            return False
    block = head[:BLOCK_BYTES]
    if len(block) == BLOCK_BYTES and not any(block):
        return place.uri.lower().endswith((".tar", ".tar.gz", ".tgz"))
    return parse_header(block) is not None


def read(place: Place) -> Iterator[SourceItem]:
    """Every sample's images in the tar's order."""
    gz = place.head.startswith(_GZ_MAGIC)
    sample = _Sample(place=place, gz=gz, key=b"")
    with open_uri(place.uri) as stream:
        limits = place.limits
        tar = GzTar(stream, limits.max_gz_ratio, limits.gz_grace_bytes) if gz else PlainTar(stream, place.stored.size)
        try:
            for member in walk(tar):
                hidden = _base(member.name).startswith(b".") and _unsafe(member) is None
                if member.kind is Kind.FOLDER or hidden:
                    continue
                key = _key(member.name)
                if key != sample.key or sample.is_full():
                    yield from sample.items()
                    sample = _Sample(place=place, gz=gz, key=key)
                sample.add(member, tar)
        except (TarBroken, OSError) as error:
            yield from sample.items()
            reason = error.reason if isinstance(error, TarBroken) else Reason.UNREADABLE
            yield refused(place, with_fragment(place.uri, "broken"), place.stored.fingerprint, reason, str(error))
        else:
            yield from sample.items()


def _base(name: bytes) -> bytes:
    return name.rstrip(b"/").rsplit(b"/", 1)[-1]


def _key(name: bytes) -> bytes:
    folder, slash, base = name.rpartition(b"/")
    return folder + slash + base.split(b".", 1)[0]


def _stem_and_suffix(name: bytes) -> tuple[bytes, str]:
    folder, slash, base = name.rpartition(b"/")
    stem, dot, suffix = base.rpartition(b".")
    return (folder + slash + stem, shown(suffix).lower()) if dot else (name, "")


def _unsafe(member: TarMember) -> str | None:
    if member.kind is not Kind.FILE:
        return f"a {member.kind.value} inside a tar is not followed"
    parts = member.name.replace(b"\\", b"/").split(b"/")
    if not member.name or member.name.startswith((b"/", b"\\")) or b".." in parts or parts[0][1:2] == b":":
        return "a member name that is absolute or climbs out"
    return None


@dataclass(slots=True)
class _Sample:
    """The members of one key, until the next key shows that they are complete."""

    place: Place
    gz: bool
    key: bytes
    members: int = 0
    held_bytes: int = 0
    images: list[tuple[bytes, SourceItem]] = field(default_factory=list)
    texts: dict[bytes, dict[str, bytes]] = field(default_factory=dict)
    sidecars: list[TarMember] = field(default_factory=list)

    def is_full(self) -> bool:
        return self.members >= _MAX_SAMPLE_MEMBERS or self.held_bytes >= self.place.limits.max_bytes

    def add(self, member: TarMember, tar: PlainTar | GzTar) -> None:
        self.members += 1
        stem, suffix = _stem_and_suffix(member.name)
        why = _unsafe(member)
        if why is not None:
            self.images.append((stem, self._refused(member, Reason.UNSAFE_MEMBER_PATH, why)))
        elif suffix in _SIDECARS:
            self.sidecars.append(member)
            if member.size <= self.place.limits.max_sidecar_bytes:
                self.texts.setdefault(stem, {})[suffix] = tar.read(member.size)
        elif self.gz and member.size > self.place.limits.max_bytes:
            why = f"{member.size} bytes, more than {self.place.limits.max_bytes}"
            self.images.append((stem, self._refused(member, Reason.TOO_MANY_BYTES, why)))
        else:
            self.images.append((stem, self._item(member, self._inline(member, tar) if self.gz else None)))

    def items(self) -> Iterator[SourceItem]:
        shared = self.texts.get(self.key, {})
        for stem, item in self.images:
            own = {**shared, **self.texts.get(stem, {})}
            yield _noted(item, notes_from_sidecars(own, self.place.limits) if own else NO_NOTES)
        if not self.images:
            for member in self.sidecars:
                yield self._refused(member, Reason.NOT_AN_IMAGE, "a side-car without an image")

    def _inline(self, member: TarMember, tar: PlainTar | GzTar) -> bytes:
        data = tar.read(member.size)
        if len(data) < member.size:
            raise TarBroken(Reason.TRUNCATED, f"the tar ends inside {shown(member.name)}")
        self.held_bytes += len(data)
        return data

    def _item(self, member: TarMember, inline: bytes | None) -> SourceItem:
        span = {} if self.gz else {"offset": member.offset, "length": member.size}
        return SourceItem(
            uri=with_fragment(self.place.uri, member.name),
            fingerprint=self._fingerprint(member),
            locator=Locator(uri=self.place.uri, member=shown(member.name), **span),
            dataset=self.place.dataset,
            original_key=shown(self.key),
            copy=self.gz,
            inline=inline,
        )

    def _refused(self, member: TarMember, reason: Reason, why: str) -> SourceItem:
        uri = with_fragment(self.place.uri, member.name)
        return refused(self.place, uri, self._fingerprint(member), reason, why, key=shown(self.key))

    def _fingerprint(self, member: TarMember) -> str:
        return f"{self.place.stored.fingerprint}@{member.offset}+{member.size}"


def _noted(item: SourceItem, notes: Notes) -> SourceItem:
    return replace(item, caption=notes.caption, licence=notes.licence, metadata_json=notes.metadata_json)
