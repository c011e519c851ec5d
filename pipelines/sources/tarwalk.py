"""Walk the headers of a tar, plain or gz, without extracting and without trusting it.

`tarfile` takes a damaged header in mid-archive for the end and reads extension headers of any size, so the
walk is our own; the header block itself is parsed by the standard library.
"""

from __future__ import annotations

import gzip
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import BinaryIO, Protocol

from flywheel.records import Reason

BLOCK_BYTES = tarfile.BLOCKSIZE
# Our choice: names and PAX records longer than this are an attack, not a name.
_MAX_EXTENSION_BYTES = 1 << 20
_SKIP_BYTES = 1 << 20


class TarBroken(Exception):
    """The rest of the tar cannot be read; what came before it stands."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class Kind(Enum):
    FILE = "file"
    FOLDER = "folder"
    LINK = "link"
    DEVICE = "device"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class TarMember:
    """One member: raw name, and `size` bytes at `offset` of the unpacked tar."""

    name: bytes
    offset: int
    size: int
    kind: Kind


class TarBytes(Protocol):
    """Unpacked tar bytes, read forward."""

    def read(self, count: int) -> bytes: ...

    def skip_to(self, offset: int) -> None: ...


class PlainTar:
    """An uncompressed tar: skipping is seeking."""

    def __init__(self, stream: BinaryIO, size: int) -> None:
        self._stream = stream
        self._size = size

    def read(self, count: int) -> bytes:
        return self._stream.read(count)

    def skip_to(self, offset: int) -> None:
        if offset > self._size:
            raise TarBroken(Reason.TRUNCATED, f"the tar ends at byte {self._size}, inside a member")
        self._stream.seek(offset)


class GzTar:
    """A gz tar: skipping is unpacking, bounded by the ratio of unpacked to packed bytes."""

    def __init__(self, stream: BinaryIO, max_ratio: float, grace_bytes: int) -> None:
        self._packed = stream
        self._stream = gzip.GzipFile(fileobj=stream, mode="rb")
        self._max_ratio = max_ratio
        self._grace_bytes = grace_bytes
        self._at = 0

    def read(self, count: int) -> bytes:
        try:
            data = self._stream.read(count)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise TarBroken(Reason.TRUNCATED, f"gz stream broken after {self._at} unpacked bytes: {error}") from error
        self._at += len(data)
        if self._at > self._grace_bytes and self._at > self._max_ratio * max(self._packed.tell(), 1):
            raise TarBroken(Reason.TOO_MANY_BYTES, f"unpacks to more than {self._max_ratio:g} times its size")
        return data

    def skip_to(self, offset: int) -> None:
        while self._at < offset:
            if not self.read(min(_SKIP_BYTES, offset - self._at)):
                raise TarBroken(Reason.TRUNCATED, f"the tar ends at byte {self._at}, inside a member")


def parse_header(block: bytes) -> tarfile.TarInfo | None:
    """The header in a block of 512 bytes, or None where there is none (checksum)."""
    try:
        header = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return None
    return header if header.size >= 0 else None


def walk(tar: TarBytes) -> Iterator[TarMember]:
    """Every member in order. Between two steps the caller may `read` the member's bytes.

    Raises TarBroken at damage, at a tar cut off in or between members, and at a gz bomb.
    """
    offset = 0
    extended: dict[bytes, bytes] = {}
    while True:
        tar.skip_to(offset)
        block = tar.read(BLOCK_BYTES)
        if len(block) == BLOCK_BYTES and not any(block):
            return
        if len(block) < BLOCK_BYTES:
            raise TarBroken(Reason.TRUNCATED, f"the tar ends at byte {offset + len(block)} without an end mark")
        header = parse_header(block)
        if header is None:
            raise TarBroken(Reason.TRUNCATED, f"no valid tar header at byte {offset}")
        data_at = offset + BLOCK_BYTES
        if header.type in _EXTENSIONS:
            extended.update(_extension(tar, header))
            offset = _next_block(data_at + header.size)
            continue
        member = _member(header, data_at, extended)
        extended = {}
        offset = _next_block(data_at + member.size)
        if member.kind is Kind.FILE:
            # Read order matters: a member that is cut off must not be handed out as if it were whole.
            _require(tar, member)
        yield member


def _require(tar: TarBytes, member: TarMember) -> None:
    if isinstance(tar, PlainTar):
        tar.skip_to(member.offset + member.size)
        tar.skip_to(member.offset)


_EXTENSIONS = (
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
)


def _extension(tar: TarBytes, header: tarfile.TarInfo) -> dict[bytes, bytes]:
    """What an extension header says about the member after it."""
    if header.size > _MAX_EXTENSION_BYTES:
        raise TarBroken(Reason.TRUNCATED, f"an extension header claims {header.size} bytes")
    data = tar.read(header.size)
    if len(data) < header.size:
        raise TarBroken(Reason.TRUNCATED, "the tar ends inside an extension header")
    if header.type == tarfile.GNUTYPE_LONGNAME:
        return {b"path": data.split(b"\0", 1)[0]}
    if header.type in (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE):
        return _pax_records(data)
    return {}


def _pax_records(data: bytes) -> dict[bytes, bytes]:
    """PAX records: `<length> <key>=<value>\\n`, length counting the whole record."""
    records: dict[bytes, bytes] = {}
    while data.strip(b"\0"):
        digits, _, _ = data[:20].partition(b" ")
        length = int(digits) if digits.isdigit() else 0
        key, equals, value = data[len(digits) + 1 : length - 1].partition(b"=")
        if not equals or not len(digits) + 2 < length <= len(data):
            raise TarBroken(Reason.TRUNCATED, "a damaged PAX header")
        records[key] = value
        data = data[length:]
    return records


def _member(header: tarfile.TarInfo, data_at: int, extended: dict[bytes, bytes]) -> TarMember:
    name = extended.get(b"path", header.name.encode("utf-8", "surrogateescape"))
    size = header.size
    if b"size" in extended:
        digits = extended[b"size"]
        if not digits.isdigit() or len(digits) > 18:
            raise TarBroken(Reason.TRUNCATED, "a PAX header with a damaged size")
        size = int(digits)
    sparse = header.type == tarfile.GNUTYPE_SPARSE or any(key.startswith(b"GNU.sparse") for key in extended)
    if header.isdir():
        return TarMember(name, data_at, 0, Kind.FOLDER)
    if header.issym() or header.islnk():
        return TarMember(name, data_at, 0, Kind.LINK)
    if header.isdev():
        return TarMember(name, data_at, 0, Kind.DEVICE)
    return TarMember(name, data_at, size, Kind.FILE if header.isreg() and not sparse else Kind.OTHER)


def _next_block(offset: int) -> int:
    return -(-offset // BLOCK_BYTES) * BLOCK_BYTES
