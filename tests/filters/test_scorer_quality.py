"""Each quality scorer tells its fault from a clean picture, on pictures made here."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
from PIL import Image

from filters.planted.scenes import SCENES, photo
from filters.scorers import measure_native, measure_scaled
from filters.scorers.jpeg import quality_of
from filters.scorers.planes import luma_of
from flywheel.images.views import RGB, LumaView, ScaledView
from flywheel.records import ImageFacts


def facts_of(rgb: RGB, orientation: int = 1) -> ImageFacts:
    height, width = rgb.shape[:2]
    return ImageFacts(
        image_id="x", format="PNG", mode="RGB", width_px=width, height_px=height, exif_orientation=orientation, bytes=9
    )


def native(rgb: RGB) -> dict[str, float | None]:
    rows = measure_native(LumaView(luma=luma_of(rgb)))
    return {column: value for row in rows.values() for column, value in row.items()}  # type: ignore[misc]


def scaled(rgb: RGB) -> dict[str, float | None]:
    view = ScaledView(rgb=np.ascontiguousarray(rgb), scale=1.0, facts=facts_of(rgb), jpeg_tables=None, had_alpha=False)
    return {column: value for row in measure_scaled(view).values() for column, value in row.items()}  # type: ignore[misc]


def recompressed(rgb: RGB, quality: int) -> RGB:
    out = io.BytesIO()
    Image.fromarray(rgb).save(out, "JPEG", quality=quality)
    return np.asarray(Image.open(out).convert("RGB"))


@pytest.fixture(scope="module", params=sorted(SCENES))
def clean(request: pytest.FixtureRequest) -> RGB:
    return np.asarray(photo(np.random.default_rng(11), 800, 600, scene=request.param))


def test_sharpness_falls_with_blur_and_survives_shallow_focus(clean: RGB) -> None:
    soft = cv2.GaussianBlur(clean, (0, 0), 4.0)
    shallow = soft.copy()
    shallow[150:450, 200:600] = clean[150:450, 200:600]
    assert native(clean)["sharpness"] > 0.55 > 0.4 > native(soft)["sharpness"]
    assert native(shallow)["sharpness"] > 0.5


def test_noise_is_about_its_luma_sigma(clean: RGB) -> None:
    rng = np.random.default_rng(3)
    noisy = np.clip(clean + rng.normal(0, 25, clean.shape), 0, 255).astype(np.uint8)
    assert native(noisy)["sigma"] > 10
    assert (native(clean)["sigma"] or 0.0) < 7


@pytest.mark.parametrize("quality", [5, 10, 18])
def test_overcompression_shows_after_saving_as_png(clean: RGB, quality: int) -> None:
    assert native(recompressed(clean, quality))["blockiness"] > 1.1
    assert native(recompressed(clean, 80))["blockiness"] < 0.9


def test_quantiser_step_is_read_off_a_shifted_grid(clean: RGB) -> None:
    """A crop moves the grid; quality 18 scales the tables 2.78 times, its lowest steps are near 32."""
    assert native(recompressed(clean, 18)[3:, 5:])["quantiser_step"] == pytest.approx(32, abs=5)


@pytest.mark.parametrize("quality", [4, 18, 50, 75, 90, 100])
def test_jpeg_quality_is_read_from_its_tables(quality: int) -> None:
    out = io.BytesIO()
    Image.new("RGB", (16, 16)).save(out, "JPEG", quality=quality)
    assert quality_of(tuple(Image.open(out).quantization[0])) == quality  # type: ignore[attr-defined]


def test_flat_pictures_have_no_entropy_and_no_sharpness() -> None:
    flat = np.full((300, 400, 3), 90, np.uint8)
    assert scaled(flat)["entropy_bits"] == 0
    assert scaled(flat)["flat_share"] == 1
    assert scaled(flat)["luma_std"] == 0
    assert native(flat)["sharpness"] is None


def lines_of_text() -> RGB:
    page = np.full((420, 320, 3), 250, np.uint8)
    words = ["the", "quick", "brown", "fox", "jumps", "over", "a", "lazy", "dog", "while", "seven", "wizards", "vex"]
    for row in range(12):
        line = " ".join(words[(5 * row + n) % len(words)] for n in range(5))
        cv2.putText(page, line, (20, 40 + 30 * row), cv2.FONT_HERSHEY_SIMPLEX, 0.55, (10, 10, 10), 1)
    return page


def test_text_lies_on_its_side_and_dense_text_is_seen() -> None:
    page = lines_of_text()
    upright, turned = scaled(page), scaled(np.rot90(page))
    assert upright["text_density"] > 0.25
    assert upright["sideways"] < 0.2 < 0.8 < turned["sideways"]
    assert upright["sign"] == "lines"


def test_orientation_abstains_without_a_sign() -> None:
    grey = np.full((200, 200, 3), 128, np.uint8)
    assert scaled(grey)["sideways"] is None
    assert scaled(grey)["upside_down"] is None
