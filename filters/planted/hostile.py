"""Files that are not what they claim: each must be refused with its own reason, cheaply."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from filters.planted.edits import Encoding, encode
from filters.planted.truth import IMAGES_FOLDER, Planted
from flywheel.records import Reason

Rng = np.random.Generator
OUTSIDE = "outside"  # beside the ingested folder: what the symlink points at
_PNG = b"\x89PNG\r\n\x1a\n"
_OVER_BOTH = frozenset({Reason.TOO_MANY_PIXELS.value, Reason.SIDE_TOO_LONG.value})


@dataclass(frozen=True, slots=True, kw_only=True)
class Hostile:
    """Bytes under a name, the reason they must be refused with, and reasons as true."""

    name: str
    reason: Reason
    data: bytes
    also_right: frozenset[str] = frozenset()


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _ihdr(width: int, height: int) -> bytes:
    return _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))


def bomb_png(side_px: int) -> bytes:
    """A complete 1-bit PNG of side x side black pixels: kilobytes on disk, gigabytes as RGB.

    Rows go through one streaming compressor, so building it never holds the picture.
    """
    packer = zlib.compressobj(9)
    row = bytes(1 + (side_px + 7) // 8)
    block, rest = row * 100, side_px % 100
    parts = [packer.compress(block) for _ in range(side_px // 100)]
    parts += [packer.compress(row * rest), packer.flush()]
    return _PNG + _ihdr(side_px, side_px) + _chunk(b"IDAT", b"".join(parts)) + _chunk(b"IEND", b"")


def thin_png(height_px: int = 84_000_000) -> bytes:
    """A PNG whose header claims 1 x `height_px`."""
    return _PNG + _ihdr(1, height_px) + _chunk(b"IDAT", zlib.compress(bytes(2000))) + _chunk(b"IEND", b"")


def lying_jpeg(jpeg: bytes, side_px: int = 60_000) -> bytes:
    """A baseline JPEG whose frame header claims side x side."""
    at = jpeg.index(b"\xff\xc0")
    return jpeg[: at + 5] + struct.pack(">HH", side_px, side_px) + jpeg[at + 9 :]


def corrupt_png(png: bytes) -> bytes:
    """A PNG of full length whose pixel data has a damaged stretch in the middle."""
    middle = len(png) // 2
    return png[:middle] + bytes(64) + png[middle + 64 :]


def _html(_: Image.Image) -> Hostile:
    page = b"<!DOCTYPE html><html><head><title>404</title></head><body>Not found</body></html>"
    return Hostile(name="page.jpg", reason=Reason.NOT_AN_IMAGE, data=page)


def _text(_: Image.Image) -> Hostile:
    return Hostile(name="notes.png", reason=Reason.NOT_AN_IMAGE, data=b"remember to water the plants\n" * 20)


def _empty(_: Image.Image) -> Hostile:
    return Hostile(name="empty.jpg", reason=Reason.EMPTY, data=b"")


def _bomb(_: Image.Image) -> Hostile:
    return Hostile(name="bomb.png", reason=Reason.TOO_MANY_PIXELS, data=bomb_png(30_000), also_right=_OVER_BOTH)


def _thin(_: Image.Image) -> Hostile:
    return Hostile(name="thin.png", reason=Reason.SIDE_TOO_LONG, data=thin_png(), also_right=_OVER_BOTH)


def _lying(image: Image.Image) -> Hostile:
    data = lying_jpeg(encode(image, Encoding(quality=85)))
    return Hostile(name="lying.jpg", reason=Reason.SIDE_TOO_LONG, data=data, also_right=_OVER_BOTH)


def _corrupt(image: Image.Image) -> Hostile:
    data = corrupt_png(encode(image, Encoding(format="PNG")))
    truncated = frozenset({Reason.TRUNCATED.value})
    return Hostile(name="corrupt.png", reason=Reason.BROKEN, data=data, also_right=truncated)


def _icon(image: Image.Image) -> Hostile:
    return _other_format("icon.ico", "ICO", image.resize((64, 64)))


def _portable(image: Image.Image) -> Hostile:
    return _other_format("scan.ppm", "PPM", image.resize((96, 64)))


def _other_format(name: str, codec: str, image: Image.Image) -> Hostile:
    return Hostile(name=name, reason=Reason.UNSUPPORTED_FORMAT, data=encode(image, Encoding(format=codec)))


HOSTILE: Mapping[str, Callable[[Image.Image], Hostile]] = {
    "html": _html,
    "text": _text,
    "empty": _empty,
    "bomb": _bomb,
    "thin": _thin,
    "lying": _lying,
    "corrupt": _corrupt,
    "icon": _icon,
    "portable": _portable,
}


def write_hostile(root: Path, image: Image.Image) -> list[Planted]:
    """Write one file of each kind, and a symlink that leads out of the ingested folder.

    `image` is a small picture to build on. Raises OSError where the file system has no symlinks.
    """
    folder = root / IMAGES_FOLDER / "hostile"
    folder.mkdir(parents=True, exist_ok=True)
    planted: list[Planted] = []
    for make in HOSTILE.values():
        bad = make(image)
        (folder / bad.name).write_bytes(bad.data)
        path = f"{IMAGES_FOLDER}/hostile/{bad.name}"
        also = bad.also_right - {bad.reason.value}
        planted.append(Planted(path=path, family="hostile", expected=bad.reason.value, also_right=also))
    (root / OUTSIDE).mkdir(exist_ok=True)
    (root / OUTSIDE / "private.jpg").write_bytes(encode(image, Encoding()))
    link = folder / "link.jpg"
    link.unlink(missing_ok=True)
    link.symlink_to(Path("..", "..", OUTSIDE, "private.jpg"))
    reason = Reason.SYMLINK_OUT_OF_ROOT.value
    return [*planted, Planted(path=f"{IMAGES_FOLDER}/hostile/link.jpg", family="hostile", expected=reason)]


def truncate(rng: Rng, data: bytes) -> bytes:
    """The first 30 to 70 % of a file: its header is whole, its pixels are not."""
    return data[: int(len(data) * rng.uniform(0.3, 0.7))]
