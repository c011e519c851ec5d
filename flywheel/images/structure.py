"""Is the file all there, and how large is it? Told from the container's own lengths, without a decoder.

Decoders forgive: Pillow takes a PNG without its end, and a TIFF whose cut directory lost the tag that
says how pixels are stored. What a cut file shows is not the picture, so it is found out here.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

from flywheel.images.sniff import AVIF, JPEG, PNG, TIFF, WEBP

_PNG_SIGNATURE_BYTES = 8
_MAX_PNG_CHUNKS = 100_000  # our choice: 64 MiB in the 8 KiB chunks of the stingiest writers is 8,192
_TIFF_VALUE_BYTES = {3: 2, 4: 4, 5: 8, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
# The tags that say how pixels are laid out: NewSubfileType to ReferenceBlackWhite (TIFF 6.0).
_TIFF_LAYOUT_TAGS = range(254, 533)
_MAX_TIFF_TAGS = 4096  # our choice: real directories hold under a hundred


def is_cut(image_format: str, data: bytes) -> bool:
    """True where the container promises more bytes than there are.

    Certain for PNG, WEBP and AVIF; for TIFF it covers the directory, not the pixels. JPEG, GIF and BMP do
    not say their length in a way that can be trusted: there the decoder has to find out.
    """
    check = _CUT_CHECKS.get(image_format)
    return check is not None and check(data)


def looks_cut(image_format: str, data: bytes) -> bool:
    """Asked after a decoder failed: is missing data the likelier cause than wrong data?"""
    if image_format == JPEG:
        return _jpeg_is_cut(data)
    if image_format == AVIF:  # cut between two boxes, it lacks the one that the first speaks of
        return _avif_is_cut(data) or b"mdat" not in (kind for kind, _, _ in _top_boxes(data))
    return is_cut(image_format, data)


def png_exif(data: bytes) -> bytes | None:
    """The eXIf chunk wherever it stands; Pillow sees one behind the pixels only after decoding them."""
    return next((data[start : start + size] for kind, start, size in _png_chunks(data) if kind == b"eXIf"), None)


def declared_size(image_format: str, data: bytes) -> tuple[int, int] | None:
    """Raw width and height for the two formats whose plugins allocate while they open, else None."""
    if image_format == WEBP:
        return _webp_size(data)
    return _avif_size(data) if image_format == AVIF else None


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """(kind, start of payload, bytes of payload) of each chunk whose header is there."""
    at = _PNG_SIGNATURE_BYTES
    for _ in range(_MAX_PNG_CHUNKS):
        if at + 8 > len(data):
            return
        size, kind = struct.unpack_from(">I4s", data, at)
        yield kind, at + 8, size
        if kind == b"IEND" or not kind.isalpha():
            return
        at += 12 + size


def _png_is_cut(data: bytes) -> bool:
    """No end chunk; but where something that is no chunk stands in the way, the file is broken, not cut."""
    kind, start, size = b"", 0, 0
    for kind, start, size in _png_chunks(data):  # noqa: B007 - the last one is what matters
        pass
    if not kind.isalpha():
        return kind == b""
    return kind != b"IEND" or start + size + 4 > len(data)


def _webp_is_cut(data: bytes) -> bool:
    return int.from_bytes(data[4:8], "little") + 8 > len(data)


def _webp_size(data: bytes) -> tuple[int, int] | None:
    """Canvas size from the first chunk (RFC 9649): extended, lossless or lossy."""
    chunk = data[12:16]
    if len(data) < 30:
        return None
    if chunk == b"VP8X":
        return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
    if chunk == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    width, height = struct.unpack_from("<HH", data, 26)
    return width & 0x3FFF, height & 0x3FFF


def _top_boxes(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """(kind, start, end as declared) of each top-level ISO base media box."""
    at = 0
    while at + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        if size == 1:
            size = int.from_bytes(data[at + 8 : at + 16], "big")
        end = len(data) if size == 0 else at + max(size, 8)
        yield kind, at, end
        at = end


def _avif_is_cut(data: bytes) -> bool:
    ends = [end for _, _, end in _top_boxes(data)]
    return not ends or ends[-1] != len(data)


def _avif_size(data: bytes) -> tuple[int, int] | None:
    """The largest `ispe` (image spatial extents) property: a grid's, where tiles have their own."""
    largest = None
    for kind, start, end in _top_boxes(data):
        at = data.find(b"ispe", start, end) if kind == b"meta" else -1
        while 0 <= at <= len(data) - 16:
            width, height = struct.unpack_from(">II", data, at + 8)
            if largest is None or width * height > largest[0] * largest[1]:
                largest = width, height
            at = data.find(b"ispe", at + 4, end)
    return largest


def _jpeg_is_cut(data: bytes) -> bool:
    """No end-of-image marker behind the first scan (one inside an EXIF thumbnail does not count)."""
    at = 2
    while at + 4 <= len(data):
        marker, size = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if data[at] != 0xFF:
            return False
        if marker == 0xDA:
            return data.find(b"\xff\xd9", at) < 0
        at += 1 if marker == 0xFF else 2 + size
    return True


def _tiff_is_cut(data: bytes) -> bool:
    """The first directory, or a value that says how pixels are laid out, lies outside the file."""
    order = "<" if data.startswith(b"II") else ">"
    big = data[2:4] in (b"+\0", b"\0+")
    head, count_code, entry_code, slot = ("Q", "Q", "HHQ", 8) if big else ("I", "H", "HHI", 4)
    try:
        (directory,) = struct.unpack_from(order + head, data, 8 if big else 4)
        (count,) = struct.unpack_from(order + count_code, data, directory)
        at = directory + struct.calcsize(order + count_code)
        for _ in range(min(count, _MAX_TIFF_TAGS)):
            tag, kind, values = struct.unpack_from(order + entry_code, data, at)
            at += struct.calcsize(order + entry_code)
            (offset,) = struct.unpack_from(order + head, data, at)
            at += slot
            size = values * _TIFF_VALUE_BYTES.get(kind, 1)
            if tag in _TIFF_LAYOUT_TAGS and size > slot and offset + size > len(data):
                return True
    except (struct.error, OverflowError):  # struct.error: an offset behind the end
        return True
    return False


_CUT_CHECKS: dict[str, Callable[[bytes], bool]] = {
    PNG: _png_is_cut,
    WEBP: _webp_is_cut,
    AVIF: _avif_is_cut,
    TIFF: _tiff_is_cut,
}
