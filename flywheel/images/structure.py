"""Is the file all there? Told from the container's own lengths, before or without a decoder.

Decoders forgive: Pillow takes a PNG without its end, and a TIFF whose cut directory lost the tag that
says how pixels are stored. What a cut file shows is not the picture, so it is found out here.
"""

from __future__ import annotations

from collections.abc import Iterator

from flywheel.images.sniff import AVIF, JPEG, PNG, TIFF, WEBP

_TIFF_VALUE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
# TIFF 6.0 baseline and extension tags that say how pixels are laid out: NewSubfileType to YCbCrCoefficients.
_TIFF_LAYOUT_TAGS = range(254, 533)
_MAX_TIFF_TAGS = 4096  # our choice: real directories hold under a hundred


def is_cut(image_format: str, data: bytes) -> bool:
    """True where the container promises more bytes than there are.

    Certain for PNG, WEBP, AVIF; for TIFF it covers the directory, not the pixels. JPEG, GIF and BMP say
    nothing about their length: JPEG has `jpeg_is_cut` for after a failure, the others only their decoder.
    """
    match image_format:
        case "PNG":
            return _png_is_cut(data)
        case "WEBP":
            return int.from_bytes(data[4:8], "little") + 8 > len(data)
        case "AVIF":
            return _boxes_are_cut(data)
        case "TIFF":
            return _tiff_is_cut(data)
    return False
