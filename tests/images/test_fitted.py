"""Pictures as models want them: as open_clip's own transform gives them, and small enough to be sent."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from flywheel.images.fitted import Fit, fitted_view, sent_view
from flywheel.records import Budgets, Failure, Reason

BUDGETS = Budgets()


def encoded(image: Image.Image, form: str = "PNG", **settings: object) -> bytes:
    held = io.BytesIO()
    image.save(held, form, **settings)
    return held.getvalue()


def scenery(width: int, height: int, seed: int = 0) -> Image.Image:
    """Smooth, as photographs are: what a resize leaves alike."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3)).astype(np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


@pytest.mark.parametrize("how", ["squash", "shortest"])
@pytest.mark.parametrize("size", [(224, 224), (640, 301), (301, 640), (100, 90), (225, 224)])
def test_it_is_what_open_clip_makes_of_a_picture(how: str, size: tuple[int, int]) -> None:
    open_clip = pytest.importorskip("open_clip")
    transform = open_clip.image_transform(
        224, is_train=False, mean=(0, 0, 0), std=(1, 1, 1), resize_mode=how, interpolation="bicubic"
    )
    image = scenery(*size)
    wanted = transform(image).permute(1, 2, 0).numpy() * 255
    view = fitted_view(encoded(image), BUDGETS, Fit(side_px=224, how=how))  # type: ignore[arg-type]
    assert not isinstance(view, Failure)
    assert np.abs(view - wanted).max() <= 1


def test_a_large_jpeg_is_scaled_while_it_decodes_and_looks_the_same() -> None:
    image = scenery(3000, 2000)
    fit = Fit(side_px=224, how="shortest")
    exact, scaled = (fitted_view(data, BUDGETS, fit) for data in (encoded(image), encoded(image, "JPEG", quality=95)))
    assert not isinstance(exact, Failure)
    assert not isinstance(scaled, Failure)
    assert np.abs(exact.astype(int) - scaled).mean() < 1.5


def test_it_is_upright_and_over_white() -> None:
    image = Image.new("RGBA", (64, 32), (0, 0, 0, 0))
    image.paste((200, 0, 0, 255), (0, 0, 32, 32))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter, clockwise
    view = fitted_view(encoded(image, exif=exif), BUDGETS, Fit(side_px=32, how="squash"))
    assert not isinstance(view, Failure)
    assert view[4, 16].tolist() == [200, 0, 0]  # what was left is above
    assert view[27, 16].tolist() == [255, 255, 255]


@given(width=st.integers(1, 400), height=st.integers(1, 400), most=st.integers(16, 40_000))
def test_what_is_sent_is_small_enough_and_keeps_its_shape(width: int, height: int, most: int) -> None:
    sent = sent_view(encoded(scenery(width, height)), BUDGETS, most)
    assert not isinstance(sent, Failure)
    seen = Image.open(io.BytesIO(sent))
    assert seen.width * seen.height <= max(most, max(seen.width, seen.height))  # a line one px thin stays one
    if min(seen.size) > 20:
        assert seen.width / seen.height == pytest.approx(width / height, rel=0.1)


def test_small_pictures_are_sent_without_loss_and_large_ones_as_jpeg() -> None:
    small, large = scenery(96, 96), scenery(900, 900)
    sent = sent_view(encoded(small), BUDGETS, 1 << 20)
    assert not isinstance(sent, Failure)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(sent))), np.asarray(small))
    sent = sent_view(encoded(large), BUDGETS, 1 << 20)
    assert not isinstance(sent, Failure)
    assert Image.open(io.BytesIO(sent)).format == "JPEG"


def test_what_cannot_be_decoded_says_why() -> None:
    for view in (sent_view(b"no picture", BUDGETS, 100), fitted_view(b"", BUDGETS, Fit(side_px=8, how="squash"))):
        assert isinstance(view, Failure)
        assert view.reason in {Reason.NOT_AN_IMAGE, Reason.EMPTY}
