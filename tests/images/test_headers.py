"""Type by the bytes, budgets before pixels, orientation whatever the EXIF block looks like."""

import struct
import zlib
from io import BytesIO

import pytest
from PIL import Image

from flywheel.images.header import Header, read_header
from flywheel.records import Budgets, Failure, Reason

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")

BUDGETS = Budgets()


def encoded(image: Image.Image, image_format: str, **options: object) -> bytes:
    out = BytesIO()
    image.save(out, image_format, **options)
    return out.getvalue()


def png_chunk(kind: bytes, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload)) + kind + payload + struct.pack(">I", zlib.crc32(kind + payload))


def flat_png(width_px: int, height_px: int) -> bytes:
    """A valid 1-bit PNG of any size, in kilobytes."""
    packer, row = zlib.compressobj(), bytes(1 + (width_px + 7) // 8)
    block = row * max(1, (1 << 20) // len(row))
    left, parts = len(row) * height_px, []
    while left > 0:
        parts.append(packer.compress(block[:left]))
        left -= len(block)
    pixels = b"".join(parts) + packer.flush()
    head = struct.pack(">IIBBBBB", width_px, height_px, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", head) + png_chunk(b"IDAT", pixels) + png_chunk(b"IEND", b"")


def claiming_jpeg(width_px: int, height_px: int) -> bytes:
    """A small JPEG whose frame header says another size."""
    data = bytearray(encoded(Image.new("RGB", (16, 16)), "JPEG"))
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", height_px, width_px)
    return bytes(data)


def claiming_webp(width_px: int, height_px: int) -> bytes:
    sides = (width_px - 1).to_bytes(3, "little") + (height_px - 1).to_bytes(3, "little")
    body = b"WEBPVP8X" + struct.pack("<II", 10, 0) + sides
    return b"RIFF" + struct.pack("<I", len(body)) + body


def claiming_gif(width_px: int, height_px: int) -> bytes:
    """A one-pixel screen whose first frame is larger: the frame is what gets allocated."""
    return b"GIF89a\1\0\1\0\0\0\0," + struct.pack("<HHHHB", 0, 0, width_px, height_px, 0) + b"\2\2L\1\0;"


def claiming_bmp(width_px: int, height_px: int) -> bytes:
    info = struct.pack("<IiiHHIIiiII", 40, width_px, height_px, 1, 24, 0, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 1 << 20, 0, 0, 54) + info


def claiming_tiff(width_px: int, height_px: int) -> bytes:
    data = bytearray(encoded(Image.new("L", (16, 16)), "TIFF"))
    for tag, value in ((256, width_px), (257, height_px)):
        at = data.index(struct.pack("<HH", tag, 4))
        data[at + 8 : at + 12] = struct.pack("<I", value)
    return bytes(data)


@pytest.mark.parametrize(
    ("make", "sides"),
    [
        (flat_png, (30_000, 30_000)),
        (flat_png, (1, 84_000_000)),
        (claiming_jpeg, (60_000, 60_000)),
        (claiming_webp, (1 << 24, 250)),
        (claiming_gif, (65_535, 65_535)),
        (claiming_bmp, (1, 84_000_000)),
        (claiming_bmp, (2_000_000, -2_000)),
        (claiming_tiff, (84_000_000, 1)),
    ],
)
def test_a_bomb_is_refused_by_its_header(make, sides) -> None:
    answer = read_header(make(*sides), BUDGETS)
    assert isinstance(answer, Failure)
    assert answer.reason is Reason.TOO_MANY_PIXELS


@pytest.mark.parametrize("make", [flat_png, claiming_jpeg, claiming_gif, claiming_bmp, claiming_tiff])
def test_a_long_side_is_refused_where_the_pixels_are_few(make) -> None:
    answer = read_header(make(30_001, 2), BUDGETS)
    assert isinstance(answer, Failure)
    assert answer.reason is Reason.SIDE_TOO_LONG


def test_budgets_are_inclusive() -> None:
    data = flat_png(300, 200)
    exact = Budgets(max_bytes=len(data), max_pixels=60_000, max_side_px=300)
    assert isinstance(read_header(data, exact), Header)
    for tight in (Budgets(max_bytes=len(data) - 1), Budgets(max_pixels=59_999), Budgets(max_side_px=299)):
        assert isinstance(read_header(data, tight), Failure)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", Reason.EMPTY),
        (b"<!DOCTYPE html><html><body>404</body></html>", Reason.NOT_AN_IMAGE),
        (b"<html><svg></svg></html>", Reason.NOT_AN_IMAGE),
        (b"\0" * 4096, Reason.NOT_AN_IMAGE),
        (b"\xff\xd8", Reason.NOT_AN_IMAGE),
        (b"\0\0\0\x18ftypisom\0\0\0\0isommp42", Reason.NOT_AN_IMAGE),
        (b"RIFF\x24\0\0\0WAVEfmt ", Reason.NOT_AN_IMAGE),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", Reason.UNSUPPORTED_FORMAT),
        (b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>', Reason.UNSUPPORTED_FORMAT),
        (b"8BPS\0\1" + bytes(20), Reason.UNSUPPORTED_FORMAT),
        (b"%PDF-1.7\n", Reason.UNSUPPORTED_FORMAT),
        (b"P6\n2 2\n255\n" + bytes(12), Reason.UNSUPPORTED_FORMAT),
    ],
)
def test_what_is_no_decodable_image_says_why(data: bytes, reason: Reason) -> None:
    answer = read_header(data, BUDGETS)
    assert isinstance(answer, Failure)
    assert answer.reason is reason


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF", "GIF", "BMP"])
def test_format_and_sides_come_from_the_bytes(image_format: str) -> None:
    header = read_header(encoded(Image.new("RGB", (40, 30), "red"), image_format), BUDGETS)
    assert isinstance(header, Header)
    assert (header.format, header.width_px, header.height_px) == (image_format, 40, 30)
    assert header.exif_orientation == 1


def test_an_mpo_is_a_jpeg() -> None:
    left, right = Image.new("RGB", (40, 30), "red"), Image.new("RGB", (40, 30), "blue")
    header = read_header(encoded(left, "MPO", save_all=True, append_images=[right]), BUDGETS)
    assert isinstance(header, Header)
    assert header.format == "JPEG"


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF"])
def test_orientation_swaps_the_sides(image_format: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    header = read_header(encoded(Image.new("RGB", (40, 30)), image_format, exif=exif), BUDGETS)
    assert isinstance(header, Header)
    assert (header.raw_width_px, header.raw_height_px) == (40, 30)
    assert (header.width_px, header.height_px, header.exif_orientation) == (30, 40, 6)


def test_png_orientation_behind_the_pixels_is_found() -> None:
    exif = Image.Exif()
    exif[0x0112] = 8
    plain = flat_png(40, 30)
    data = plain[:-12] + png_chunk(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0")) + plain[-12:]
    header = read_header(data, BUDGETS)
    assert isinstance(header, Header)
    assert header.exif_orientation == 8


@pytest.mark.parametrize(
    "exif", [b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + bytes(30)]
)
def test_a_broken_exif_block_costs_only_the_orientation(exif: bytes) -> None:
    header = read_header(encoded(Image.new("RGB", (40, 30)), "JPEG", exif=exif), BUDGETS)
    assert isinstance(header, Header)
    assert (header.width_px, header.height_px, header.exif_orientation) == (40, 30, 1)


@pytest.mark.parametrize("value", [0, 9, 65_535])
def test_an_orientation_that_does_not_exist_is_none(value: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = value
    header = read_header(encoded(Image.new("RGB", (40, 30)), "JPEG", exif=exif), BUDGETS)
    assert isinstance(header, Header)
    assert header.exif_orientation == 1
