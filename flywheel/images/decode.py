"""From bytes to upright 8-bit pixels: small in colour for the scaled scorers, whole for the native ones.

All run inside a sandbox child; all return a Failure for what bytes can do wrong, and let MemoryError out.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile, JpegImagePlugin

from flywheel.images.header import DECODER_ERRORS, Header, decode_failure, open_checked
from flywheel.images.pixels import grey, over_white, to_eight_bit
from flywheel.images.sniff import JPEG, TIFF
from flywheel.images.views import SCALED_SHORT_SIDE_PX, LumaView, NativeView, ScaledView
from flywheel.records import Budgets, Failure, ImageFacts, Reason
from flywheel.seeds import content_id

# EXIF 2.3, tag 0x0112: what undoes each orientation.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def scaled_view(data: bytes, budgets: Budgets) -> ScaledView | Failure:
    """The whole picture, small. A JPEG is scaled while it decodes (1/2, 1/4, 1/8), others afterwards.

    The entropy-coded data is read to its end either way, so a cut file is found out. Reasons as in
    `read_header`. Raises MemoryError.
    """
    opened = open_checked(data, budgets)
    if isinstance(opened, Failure):
        return opened
    header, image = opened
    try:
        if header.format == JPEG:
            image.draft(None, (SCALED_SHORT_SIDE_PX, SCALED_SHORT_SIDE_PX))
        image.load()
        plain = to_eight_bit(image)
        had_alpha = plain.mode == "RGBA" and _lowest_alpha(plain) < 255
        factor = max(1, min(plain.size) // SCALED_SHORT_SIDE_PX)
        small = over_white(plain.reduce(factor) if factor > 1 else plain)
        rgb = np.asarray(upright(small, header))
    except DECODER_ERRORS as error:
        return decode_failure(header.format, data, error)
    return ScaledView(
        rgb=rgb,
        scale=max(header.width_px, header.height_px) / max(rgb.shape[:2]),
        facts=_facts(data, header),
        jpeg_tables=_jpeg_tables(image),
        had_alpha=had_alpha,
    )


def native_view(data: bytes, budgets: Budgets) -> NativeView | Failure:
    """The picture at its own resolution. Reasons as in `read_header`. Raises MemoryError."""
    rgb = _whole(data, budgets, None, over_white)
    return rgb if isinstance(rgb, Failure) else NativeView(rgb=rgb)


def luma_view(data: bytes, budgets: Budgets) -> LumaView | Failure:
    """Its luma alone: of a JPEG the Y channel as stored, which saves half of the decoding. As `native_view`."""
    luma = _whole(data, budgets, "L", grey)
    return luma if isinstance(luma, Failure) else LumaView(luma=luma)


def upright_image(
    data: bytes,
    budgets: Budgets,
    draft: tuple[str | None, tuple[int, int] | None] | None,
    finish: Callable[[Image.Image], Image.Image],
) -> tuple[Header, Image.Image] | Failure:
    """The picture after `finish`, turned as EXIF says. Reasons as in `read_header`. Raises MemoryError.

    `draft`: mode and least size to which a JPEG may be scaled while it decodes; a size of None is its own.
    """
    opened = open_checked(data, budgets)
    if isinstance(opened, Failure):
        return opened
    header, image = opened
    try:
        if header.format == JPEG and draft is not None:
            mode, size = draft
            image.draft(mode, size or image.size)
        image.load()
        return header, upright(finish(to_eight_bit(image)), header)
    except DECODER_ERRORS as error:
        return decode_failure(header.format, data, error)


def _whole(
    data: bytes, budgets: Budgets, jpeg_mode: str | None, finish: Callable[[Image.Image], Image.Image]
) -> npt.NDArray[np.uint8] | Failure:
    decoded = upright_image(data, budgets, None if jpeg_mode is None else (jpeg_mode, None), finish)
    if isinstance(decoded, Failure):
        return decoded
    header, image = decoded
    if image.size != (header.width_px, header.height_px):
        said = f"{header.format}: {image.width} x {image.height} px where the header has another size"
        return Failure(reason=Reason.BROKEN, detail=said)
    return np.asarray(image)


def _facts(data: bytes, header: Header) -> ImageFacts:
    return ImageFacts(
        image_id=content_id(data),
        format=header.format,
        mode=header.mode,
        width_px=header.width_px,
        height_px=header.height_px,
        exif_orientation=header.exif_orientation,
        bytes=len(data),
    )


def upright(image: Image.Image, header: Header) -> Image.Image:
    """Oriented as EXIF says. Pillow's TIFF plugin has turned its own already."""
    method = _UPRIGHT.get(header.exif_orientation)
    return image.transpose(method) if method is not None and header.format != TIFF else image


def _lowest_alpha(image: Image.Image) -> float:
    lowest = image.getchannel("A").getextrema()[0]
    assert isinstance(lowest, (int, float))
    return lowest


def _jpeg_tables(image: ImageFile.ImageFile) -> tuple[tuple[int, ...], ...] | None:
    """Quantisation tables in the order of the components that use them, each in the file's zigzag order."""
    if not isinstance(image, JpegImagePlugin.JpegImageFile):
        return None
    used = dict.fromkeys(component[3] for component in image.layer)
    return tuple(_zigzag(image.quantization[table]) for table in used if table in image.quantization)


def _zigzag(natural: list[int]) -> tuple[int, ...]:
    """Pillow stores natural[j] = stored[zigzag_index[j]]; this undoes it."""
    stored = [0] * 64
    for value, at in zip(natural, JpegImagePlugin.zigzag_index, strict=True):
        stored[at] = value
    return tuple(stored)
