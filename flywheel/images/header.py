"""What an image file says of itself, checked against the budgets before a pixel is decoded."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from io import BytesIO

from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    ExifTags,
    GifImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from flywheel.images.sniff import AVIF, BMP, GIF, JPEG, PNG, TIFF, WEBP, sniff
from flywheel.images.structure import declared_size, is_cut, looks_cut, png_exif
from flywheel.records import Budgets, Failure, Reason

# The plugin classes themselves, so that only the one that was sniffed ever sees the bytes. The plain JPEG
# class also takes an MPO, whose first picture it is.
_PLUGINS: dict[str, type[ImageFile.ImageFile]] = {
    JPEG: JpegImagePlugin.JpegImageFile,
    PNG: PngImagePlugin.PngImageFile,
    WEBP: WebPImagePlugin.WebPImageFile,
    AVIF: AvifImagePlugin.AvifImageFile,
    TIFF: TiffImagePlugin.TiffImageFile,
    GIF: GifImagePlugin.GifImageFile,
    BMP: BmpImagePlugin.BmpImageFile,
}

# One image a process at a time: a thread for each core would cost address space under the memory limit.
AvifImagePlugin.DEFAULT_MAX_THREADS = 1

# What Pillow was seen to raise on hostile files. MemoryError is not among them: it is the sandbox's.
DECODER_ERRORS: tuple[type[Exception], ...] = (
    OSError,
    ValueError,
    TypeError,
    SyntaxError,
    LookupError,
    ArithmeticError,
    AttributeError,
    AssertionError,
    BufferError,
    EOFError,
    RuntimeError,  # NotImplementedError and RecursionError are among its children
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
    UserWarning,  # where warnings are turned into errors
)
_END_OF_DATA = (IndexError, EOFError, struct.error)
_DETAIL_CHARS = 160


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """The sides as stored (`raw_*`) and as seen after EXIF orientation (`width_px`, `height_px`)."""

    format: str
    mode: str
    raw_width_px: int
    raw_height_px: int
    width_px: int
    height_px: int
    exif_orientation: int


def read_header(data: bytes, budgets: Budgets) -> Header | Failure:
    """Sniff, open without decoding, and check the budgets (bytes, then pixels, then the longer side).

    The reasons given: EMPTY, NOT_AN_IMAGE, UNSUPPORTED_FORMAT, TRUNCATED, BROKEN, TOO_MANY_BYTES,
    TOO_MANY_PIXELS, SIDE_TOO_LONG. A broken EXIF block is none: the orientation is then 1.
    Raises MemoryError, which is for the sandbox to handle.
    """
    opened = open_checked(data, budgets)
    return opened if isinstance(opened, Failure) else opened[0]


def open_checked(data: bytes, budgets: Budgets) -> tuple[Header, ImageFile.ImageFile] | Failure:
    """`read_header`, and the opened image whose pixels were not read yet."""
    assert not ImageFile.LOAD_TRUNCATED_IMAGES, "somebody made Pillow accept cut files"
    if len(data) > budgets.max_bytes:
        return Failure(reason=Reason.TOO_MANY_BYTES, detail=f"{len(data)} bytes, the limit is {budgets.max_bytes}")
    image_format = sniff(data)
    if isinstance(image_format, Failure):
        return image_format
    declared = declared_size(image_format, data)
    refused = None if declared is None else _over_budget(*declared, budgets)
    if refused is not None:
        return refused
    try:
        image = _PLUGINS[image_format](BytesIO(data), "")
    except DECODER_ERRORS as error:
        return decode_failure(image_format, data, error)
    header = _header(image_format, data, image)
    refused = _over_budget(header.raw_width_px, header.raw_height_px, budgets)
    if refused is not None:
        return refused
    if is_cut(image_format, data):
        return Failure(reason=Reason.TRUNCATED, detail=f"{image_format}: the file ends before the picture does")
    return header, image


def decode_failure(image_format: str, data: bytes, error: Exception) -> Failure:
    """The reason behind what a decoder raised. Raises MemoryError where that is what it meant."""
    said = " ".join(str(error).split())
    low = said.lower()
    if "out of memory" in low:
        raise MemoryError(said) from error
    if isinstance(error, Image.DecompressionBombError):
        reason = Reason.TOO_MANY_PIXELS
    elif "truncated" in low or isinstance(error.__cause__, _END_OF_DATA) or looks_cut(image_format, data):
        reason = Reason.TRUNCATED
    elif isinstance(error, NotImplementedError) or "unsupported" in low:
        reason = Reason.UNSUPPORTED_FORMAT
    else:
        reason = Reason.BROKEN
    return Failure(reason=reason, detail=f"{image_format}: {type(error).__name__}: {said}"[:_DETAIL_CHARS])


def _over_budget(width_px: int, height_px: int, budgets: Budgets) -> Failure | None:
    if width_px * height_px > budgets.max_pixels:
        detail = f"{width_px} x {height_px} px, the limit is {budgets.max_pixels} px"
        return Failure(reason=Reason.TOO_MANY_PIXELS, detail=detail)
    if max(width_px, height_px) > budgets.max_side_px:
        detail = f"{width_px} x {height_px} px, the limit is {budgets.max_side_px} px a side"
        return Failure(reason=Reason.SIDE_TOO_LONG, detail=detail)
    return None


def _header(image_format: str, data: bytes, image: ImageFile.ImageFile) -> Header:
    orientation = _orientation(image_format, data, image)
    width_px, height_px = image.size
    if isinstance(image, TiffImagePlugin.TiffImageFile):  # its size is already that of the upright picture
        width_px, height_px = image.tag_v2[ExifTags.Base.ImageWidth], image.tag_v2[ExifTags.Base.ImageLength]
    upright = (height_px, width_px) if orientation >= 5 else (width_px, height_px)
    return Header(
        format=image_format,
        mode=image.mode,
        raw_width_px=width_px,
        raw_height_px=height_px,
        width_px=upright[0],
        height_px=upright[1],
        exif_orientation=orientation,
    )


def _orientation(image_format: str, data: bytes, image: ImageFile.ImageFile) -> int:
    if image_format == PNG and "exif" not in image.info:
        exif = png_exif(data)
        if exif is not None:
            image.info["exif"] = exif
    try:
        # The base class's method: PNG's own decodes the pixels first.
        value = Image.Image.getexif(image).get(ExifTags.Base.Orientation)
    except DECODER_ERRORS:
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1
