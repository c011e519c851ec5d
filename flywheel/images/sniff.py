"""What kind of file bytes are, told from the bytes alone; a name or a content type is never asked."""

from __future__ import annotations

from flywheel.records import Failure, Reason

# The formats that are decoded, as Pillow spells them.
JPEG, PNG, WEBP, AVIF, TIFF, GIF, BMP = "JPEG", "PNG", "WEBP", "AVIF", "TIFF", "GIF", "BMP"

_DECODED: tuple[tuple[bytes, str], ...] = (
    (b"\xff\xd8\xff", JPEG),
    (b"\x89PNG\r\n\x1a\n", PNG),
    (b"GIF87a", GIF),
    (b"GIF89a", GIF),
    (b"II*\0", TIFF),
    (b"MM\0*", TIFF),
    (b"II+\0", TIFF),  # BigTIFF
    (b"MM\0+", TIFF),
    (b"BM", BMP),
)

# Pictures that somebody may well have in a folder, but that nothing here decodes.
_RECOGNISED: tuple[tuple[bytes, str], ...] = (
    (b"\xff\x0a", "JPEG XL"),
    (b"\0\0\0\x0cJXL ", "JPEG XL"),
    (b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"II\xbc", "JPEG XR"),
    (b"8BPS", "PSD"),
    (b"\0\0\1\0", "ICO"),
    (b"\0\0\2\0", "CUR"),
    (b"icns", "ICNS"),
    (b"\x01\xda", "SGI"),
    (b"DDS ", "DDS"),
    (b"BLP1", "BLP"),
    (b"BLP2", "BLP"),
    (b"%!PS", "EPS"),
    (b"\xc5\xd0\xd3\xc6", "EPS"),
    (b"%PDF", "PDF"),
    (b"SIMPLE  =", "FITS"),
    (b"#?RADIANCE", "HDR"),
    (b"#?RGBE", "HDR"),
    (b"\x76\x2f\x31\x01", "EXR"),
    (b"gimp xcf", "XCF"),
    (b"qoif", "QOI"),
    (b"farbfeld", "farbfeld"),
    (b"AT&TFORM", "DjVu"),
    (b"\x0a\x05\x01", "PCX"),
    (b"\x59\xa6\x6a\x95", "Sun raster"),
    (b"/* XPM */", "XPM"),
    *((b"P%d%c" % (kind, space), "PNM") for kind in range(1, 8) for space in b" \t\r\n"),
)

_AVIF_BRANDS = frozenset({b"avif", b"avis"})
_HEIF_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"})
_FLI_MAGICS = (b"\x11\xaf", b"\x12\xaf")
_TEXT_PREFIX_BYTES = 1024  # our choice: how far into an XML file its <svg> root is looked for


def sniff(data: bytes) -> str | Failure:
    """The format of `data`, or EMPTY, UNSUPPORTED_FORMAT (a picture we know but do not decode), NOT_AN_IMAGE."""
    if not data:
        return Failure(reason=Reason.EMPTY, detail="zero bytes")
    for magic, name in _DECODED:
        if data.startswith(magic):
            return name
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return WEBP
    brands = _ftyp_brands(data)
    if brands & _AVIF_BRANDS:
        return AVIF
    recognised = _recognised(data, brands)
    if recognised is not None:
        return Failure(reason=Reason.UNSUPPORTED_FORMAT, detail=f"{recognised} is not decoded here")
    return Failure(reason=Reason.NOT_AN_IMAGE, detail=f"no known image starts with {data[:8]!r}")


def _ftyp_brands(data: bytes) -> frozenset[bytes]:
    """The major and compatible brands of an ISO base media file; empty for any other file."""
    if data[4:8] != b"ftyp":
        return frozenset()
    end = min(int.from_bytes(data[:4], "big"), len(data), 512)
    return frozenset({data[8:12], *(data[at : at + 4] for at in range(16, end, 4))})


def _recognised(data: bytes, brands: frozenset[bytes]) -> str | None:
    if brands & _HEIF_BRANDS:
        return "HEIC"
    if b"crx " in brands:
        return "CR3"
    if data[4:6] in _FLI_MAGICS:
        return "FLI"
    head = data[:_TEXT_PREFIX_BYTES].lstrip(b"\xef\xbb\xbf \t\r\n")
    if head.startswith(b"<svg") or (head.startswith((b"<?xml", b"<!DOCTYPE svg", b"<!--")) and b"<svg" in head):
        return "SVG"
    return next((name for magic, name in _RECOGNISED if data.startswith(magic)), None)
