"""Pixels: upright, whole, in the colours a viewer shows, and never from a file that was cut."""

import hashlib
from contextlib import suppress
from functools import cache
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from flywheel.images.decode import luma_view, native_view, scaled_view
from flywheel.images.views import SCALED_SHORT_SIDE_PX, LumaView, NativeView, ScaledView
from flywheel.records import Budgets, Failure, Reason

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")

BUDGETS = Budgets()
WHITE, GREY = (255, 255, 255), (128, 128, 128)


def encoded(image: Image.Image, image_format: str, **options: object) -> bytes:
    out = BytesIO()
    image.save(out, image_format, **options)
    return out.getvalue()


def scaled(data: bytes) -> ScaledView:
    view = scaled_view(data, BUDGETS)
    assert isinstance(view, ScaledView), view
    return view


def native(data: bytes) -> NativeView:
    view = native_view(data, BUDGETS)
    assert isinstance(view, NativeView), view
    return view


def corner_colours(data: bytes, at: tuple[int, int] = (4, 4)) -> tuple[list[int], list[int]]:
    """The same native pixel in both views."""
    small, whole = scaled(data), native(data)
    x, y = (int(place / small.scale) for place in at)
    return small.rgb[y, x].tolist(), whole.rgb[at[1], at[0]].tolist()


def shown(data: bytes, colour: tuple[int, ...], within: int = 2, at: tuple[int, int] = (4, 4)) -> None:
    for pixel in corner_colours(data, at):
        assert np.abs(np.subtract(pixel, colour)).max() <= within, (pixel, colour)


@cache
def picture(width_px: int = 700, height_px: int = 480) -> Image.Image:
    """Smooth noise with four different quarters, so that every turn and flip shows."""
    noise = np.random.default_rng(7).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    noise[:6, :8] //= 3
    noise[6:, 8:, 0] = 255
    return Image.fromarray(noise).resize((width_px, height_px), Image.Resampling.BICUBIC)


TURNS = {
    1: lambda pixels: pixels,
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: pixels[::-1].swapaxes(0, 1),
    7: lambda pixels: pixels[::-1, ::-1].swapaxes(0, 1),
    8: lambda pixels: pixels[:, ::-1].swapaxes(0, 1),
}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF"])
def test_every_orientation_ends_upright(image_format: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    turned, plain = (encoded(picture(), image_format, exif=block) for block in (exif, Image.Exif()))
    facts = scaled(turned).facts
    assert facts.exif_orientation == orientation
    assert (facts.width_px, facts.height_px) == ((700, 480) if orientation < 5 else (480, 700))
    for view in (scaled, native):
        upright, stored = view(turned), view(plain)
        assert upright.rgb.shape == TURNS[orientation](stored.rgb).shape
        difference = np.abs(upright.rgb.astype(int) - TURNS[orientation](stored.rgb))
        # Two formats shrink after they turned (TIFF), where the last column holds fewer pixels.
        assert np.percentile(difference, 95) <= 3


@pytest.mark.parametrize(
    ("width_px", "height_px"), [(100, 80), (223, 900), (448, 449), (1280, 960), (5000, 300), (3000, 4000)]
)
@pytest.mark.parametrize("image_format", ["JPEG", "PNG"])
def test_the_scaled_view_is_small_and_knows_its_scale(image_format: str, width_px: int, height_px: int) -> None:
    data = encoded(Image.new("RGB", (width_px, height_px), GREY), image_format)
    view = scaled(data)
    short = min(view.rgb.shape[:2])
    assert min(width_px, height_px, SCALED_SHORT_SIDE_PX) <= short <= 2 * SCALED_SHORT_SIDE_PX
    assert view.scale == pytest.approx(width_px / view.rgb.shape[1], rel=0.02)
    assert view.rgb.flags.c_contiguous
    assert view.rgb.dtype == np.uint8
    assert np.abs(view.rgb.astype(int) - 128).max() <= 1


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF", "BMP", "GIF"])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK", "RGBA", "P", "1"])
def test_the_luma_view_is_the_luma_of_the_native_one(image_format: str, mode: str) -> None:
    """A JPEG's Y channel is read as it is stored: equal to the luma of its colours but for their rounding."""
    exif = Image.Exif()
    exif[0x0112] = 6
    try:
        data = encoded(picture().convert(mode), image_format, exif=exif)
    except (OSError, ValueError):
        pytest.skip(f"{image_format} has no {mode}")
    view, whole = luma_view(data, BUDGETS), native(data)
    assert isinstance(view, LumaView), view
    assert view.luma.shape == whole.rgb.shape[:2]
    assert view.luma.dtype == np.uint8
    off = np.abs(view.luma - whole.rgb @ np.array([0.299, 0.587, 0.114]))
    assert off.mean() < 0.6
    assert np.percentile(off, 99) <= 2  # colours out of gamut are clipped in RGB alone


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF", "BMP"])
def test_both_views_show_the_same_picture(image_format: str) -> None:
    data = encoded(picture(), image_format)
    small, whole = scaled(data), native(data)
    assert whole.rgb.shape[:2] == (small.facts.height_px, small.facts.width_px)
    assert small.facts.image_id == hashlib.sha256(data).hexdigest()
    assert small.facts.bytes == len(data)
    size = (small.rgb.shape[1], small.rgb.shape[0])
    reference = np.asarray(picture().resize(size, Image.Resampling.BOX), dtype=int)
    assert np.abs(small.rgb - reference).mean() < 4
    assert np.abs(whole.rgb.astype(int) - np.asarray(picture())).mean() < 6


def test_jpeg_tables_are_luma_first_in_file_order() -> None:
    data = encoded(picture(), "JPEG", quality=30)
    tables = scaled(data).jpeg_tables
    at = data.index(b"\xff\xdb")
    assert tables is not None
    assert len(tables) == 2
    assert tables[0] == tuple(data[at + 5 : at + 69])
    assert scaled(encoded(picture().convert("L"), "JPEG")).jpeg_tables is not None
    assert scaled(encoded(picture(), "PNG")).jpeg_tables is None


def test_transparency_shows_a_white_page() -> None:
    half = Image.new("RGBA", (500, 500), (255, 0, 0, 128))
    for image_format in ("PNG", "WEBP", "AVIF", "TIFF"):
        data = encoded(half, image_format, **({"lossless": True} if image_format == "WEBP" else {}))
        shown(data, (255, 127, 127), within=3)
        assert scaled(data).had_alpha
    hidden = encoded(Image.new("RGBA", (500, 500), (255, 0, 0, 0)), "PNG")
    shown(hidden, WHITE)


def test_opaque_alpha_is_no_alpha() -> None:
    data = encoded(Image.new("RGBA", (500, 500), (10, 20, 30, 255)), "PNG")
    shown(data, (10, 20, 30))
    assert not scaled(data).had_alpha


def test_grey_with_alpha() -> None:
    data = encoded(Image.new("LA", (500, 500), (0, 64)), "PNG")
    shown(data, (191, 191, 191))
    assert scaled(data).had_alpha


def test_one_transparent_pixel_is_alpha_in_use() -> None:
    image = Image.new("RGBA", (900, 900), (0, 0, 0, 255))
    image.putpixel((500, 500), (0, 0, 0, 0))
    assert scaled(encoded(image, "PNG")).had_alpha


@pytest.mark.parametrize("image_format", ["PNG", "GIF"])
def test_palette_with_a_transparent_entry(image_format: str) -> None:
    image = Image.new("P", (500, 500), 1)
    image.putpalette([0, 0, 255, 200, 100, 50])
    image.paste(0, (0, 0, 250, 500))
    data = encoded(image, image_format, transparency=0)
    shown(data, WHITE)
    shown(data, (200, 100, 50), at=(400, 100))
    assert scaled(data).had_alpha


@pytest.mark.parametrize("mode", ["RGB", "L", "1"])
def test_a_colour_key_is_transparent(mode: str) -> None:
    image = Image.new(mode, (500, 500), 0)
    key = (0, 0, 0) if mode == "RGB" else 0
    data = encoded(image, "PNG", transparency=key)
    shown(data, WHITE)


@pytest.mark.parametrize("image_format", ["JPEG", "TIFF"])
def test_cmyk_inks_become_light(image_format: str) -> None:
    for ink, colour in {(0, 0, 0, 0): WHITE, (255, 0, 0, 0): (0, 255, 255), (0, 0, 0, 255): (0, 0, 0)}.items():
        data = encoded(Image.new("CMYK", (500, 500), ink), image_format)
        shown(data, colour, within=4)
        assert scaled(data).facts.mode == "CMYK"


@pytest.mark.parametrize("image_format", ["PNG", "TIFF"])
def test_sixteen_bits_are_scaled_not_clipped(image_format: str) -> None:
    for value, level in ((0, 0), (300, 1), (32_768, 128), (65_535, 255)):
        data = encoded(Image.fromarray(np.full((500, 500), value, dtype=np.uint16)), image_format)
        shown(data, (level,) * 3, within=1)


def test_sixteen_bit_colour_key() -> None:
    wide = np.full((500, 500), 40_000, dtype=np.uint16)
    wide[:, 250:] = 1_000
    data = encoded(Image.fromarray(wide), "PNG", transparency=1_000)
    shown(data, (156, 156, 156), within=1)
    shown(data, WHITE, at=(400, 100))


@pytest.mark.parametrize(
    ("values", "level"), [((0.0, 0.5, 1.0), 128), ((0.0, 100.0, 200.0), 100), ((-5.0, 0.0, 5.0), 128)]
)
def test_floats_span_the_range_they_use(values: tuple[float, float, float], level: int) -> None:
    wide = np.full((500, 500), values[1], dtype=np.float32)
    wide[400:, :250], wide[400:, 250:] = values[0], values[2]
    shown(encoded(Image.fromarray(wide), "TIFF"), (level,) * 3)


def test_bilevel_and_grey_files() -> None:
    shown(encoded(Image.new("1", (500, 500), 1), "PNG"), WHITE)
    shown(encoded(Image.new("1", (500, 500), 1), "TIFF", compression="group4"), WHITE)
    shown(encoded(Image.new("L", (500, 500), 77), "JPEG"), (77, 77, 77))


def test_lab_becomes_srgb() -> None:
    shown(encoded(Image.new("LAB", (500, 500), (255, 128, 128)), "TIFF"), WHITE, within=3)
    red = np.array(corner_colours(encoded(Image.new("LAB", (500, 500), (135, 208, 195)), "TIFF"))[1])
    assert red[0] > 200
    assert red[1:].max() < 60


def test_ycbcr_tiff() -> None:
    data = encoded(Image.new("RGB", (500, 500), (200, 50, 50)).convert("YCbCr"), "TIFF")
    shown(data, (200, 50, 50), within=3)


@pytest.mark.parametrize("image_format", ["GIF", "PNG", "WEBP", "AVIF", "TIFF", "MPO"])
def test_the_first_frame_is_the_picture(image_format: str) -> None:
    first, second = Image.new("RGB", (500, 400), (250, 10, 10)), Image.new("RGB", (500, 400), (10, 10, 250))
    data = encoded(first, image_format, save_all=True, append_images=[second])
    shown(data, (250, 10, 10), within=8)


def files_to_cut() -> dict[str, bytes]:
    return {
        "baseline JPEG": encoded(picture(), "JPEG"),
        "progressive JPEG": encoded(picture(), "JPEG", progressive=True),
        "PNG": encoded(picture(), "PNG"),
        "lossy WEBP": encoded(picture(), "WEBP"),
        "lossless WEBP": encoded(picture(200, 150), "WEBP", lossless=True),
        "AVIF": encoded(picture(200, 150), "AVIF"),
        "GIF": encoded(picture(), "GIF"),
        "animated GIF": encoded(picture(), "GIF", save_all=True, append_images=[picture().rotate(90)]),
        "BMP": encoded(picture(), "BMP"),
        "palette BMP": encoded(picture().convert("P"), "BMP"),
        "raw TIFF": encoded(picture(), "TIFF"),
        "LZW TIFF": encoded(picture(), "TIFF", compression="tiff_lzw"),
        "deflate TIFF": encoded(picture(), "TIFF", compression="tiff_adobe_deflate"),
        "16-bit TIFF": encoded(Image.fromarray(np.arange(90_000, dtype=np.uint16).reshape(300, 300)), "TIFF"),
    }


MUST_SAY_TRUNCATED = ("JPEG", "PNG", "WEBP", "AVIF")


@cache
def file_to_cut(name: str) -> tuple[bytes, bytes]:
    data = files_to_cut()[name]
    return data, native(data).rgb.tobytes()


@pytest.mark.parametrize("name", sorted(files_to_cut()))
@settings(max_examples=40, deadline=None)
@given(where=st.one_of(st.floats(0, 1, exclude_max=True), st.integers(-64, -1), st.integers(16, 400)))
def test_a_cut_file_never_yields_another_picture(name: str, where: float) -> None:
    """JPEG, PNG, WEBP and AVIF: never a view. The others may end in bytes that no pixel needs (a GIF's trailer
    and later frames, padding of the last BMP row, tags behind the strips): then the pixels must be all there."""
    data, pixels = file_to_cut(name)
    at = int(where * len(data)) if isinstance(where, float) else where % len(data)
    cut = data[: max(16, at)]
    for make in (scaled_view, native_view, luma_view):
        view = make(cut, BUDGETS)
        if name.endswith(MUST_SAY_TRUNCATED):
            assert isinstance(view, Failure)
            assert view.reason is Reason.TRUNCATED, view
        elif isinstance(view, Failure):
            assert view.reason in (Reason.TRUNCATED, Reason.BROKEN), view
        elif make is native_view:
            assert view.rgb.tobytes() == pixels


@settings(max_examples=150, deadline=None)
@given(data=st.data(), name=st.sampled_from(sorted(files_to_cut())))
def test_spoiled_bytes_never_escape_as_exceptions(data: st.DataObject, name: str) -> None:
    spoiled = bytearray(file_to_cut(name)[0])
    near_header = st.integers(0, min(600, len(spoiled) - 1))
    for at in data.draw(st.lists(st.one_of(near_header, st.integers(0, len(spoiled) - 1)), min_size=1, max_size=6)):
        spoiled[at] = data.draw(st.integers(0, 255))
    tight = Budgets(max_pixels=4_000_000)
    for make in (scaled_view, native_view, luma_view):
        with suppress(MemoryError):  # the one that the sandbox handles
            assert isinstance(make(bytes(spoiled), tight), (Failure, ScaledView, NativeView, LumaView))
