"""How many files of each family a set of a given size has, and in which sizes and codecs.

All shares are our choice. Each family takes its share of `images`; the hostile files come once each.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from filters.planted.edits import Encoding

Rng = np.random.Generator

DEFAULT_IMAGES = 400

# Shares of the set. Posters: at least 60 at the default size. Faults: 22 each, so that one miss still scores 0.95.
SHARES: Mapping[str, float] = {
    "photo": 0.1975,
    "poster": 0.16,
    "slide": 0.04,
    "diagram": 0.03,
    "document": 0.03,
    "design": 0.03,
    "exact": 0.055,
    "near_photo": 0.0875,
    "near_layout": 0.0525,
    "exif": 0.025,
    "rotated": 0.025,
    "blur": 0.055,
    "noise": 0.055,
    "compression": 0.055,
    "flat": 0.055,
    "truncated": 0.0225,
}
HOSTILE_FILES = 10
POSTERS_A_SERIES = 8

# (width, height, weight): most are web-sized, a few are thumbnails or large originals.
_SIZES = (
    (64, 64, 1), (96, 128, 1), (200, 150, 1), (256, 256, 2),
    (512, 512, 8), (640, 480, 12), (480, 640, 8), (768, 512, 10), (600, 900, 6), (800, 600, 10),
    (720, 720, 5), (1024, 683, 6), (640, 1138, 3), (1024, 768, 6), (1280, 720, 4), (1280, 853, 3), (1200, 400, 2),
    (1600, 1067, 1), (1920, 1080, 1), (2400, 1350, 1),
)  # fmt: skip
_JUDGED_SHORT_PX = 480  # what carries a fault or is copied is big enough for the fault to be a fact


def counts(images: int) -> dict[str, int]:
    """Files of each family; they add up to `images`, hostile ones included. Raises ValueError below 60."""
    if images < 60:
        raise ValueError(f"a set of {images} files cannot hold every family; at least 60")
    room = images - HOSTILE_FILES
    total = sum(SHARES.values())
    exact = {family: share / total * room for family, share in SHARES.items()}
    whole = {family: max(2, round(value)) for family, value in exact.items()}
    whole["photo"] += room - sum(whole.values())
    return whole


def any_size(rng: Rng) -> tuple[int, int]:
    return _draw(rng, 0)


def judged_size(rng: Rng) -> tuple[int, int]:
    """At least 480 pixels on the short side, at most about 1.1 megapixels."""
    return _draw(rng, _JUDGED_SHORT_PX)


def _draw(rng: Rng, short_px: int) -> tuple[int, int]:
    fits = [s for s in _SIZES if not short_px or (min(s[:2]) >= short_px and s[0] * s[1] <= 1_100_000)]
    weights = np.array([s[2] for s in fits], float)
    chosen = fits[int(rng.choice(len(fits), p=weights / weights.sum()))]
    return chosen[0], chosen[1]


def clean_encoding(rng: Rng) -> Encoding:
    """Mostly JPEG of quality 78..96, as on the web."""
    draw = rng.random()
    quality = int(rng.integers(78, 97))
    if draw < 0.74:
        return Encoding(quality=quality, progressive=bool(rng.random() < 0.25))
    if draw < 0.86:
        return Encoding(format="WEBP", quality=quality)
    if draw < 0.95:
        return Encoding(format="PNG")
    return Encoding(format=str(rng.choice(["TIFF", "AVIF", "BMP"])), quality=quality)


# Storage modes that a loader must take in its stride, given to the first flat designs.
ODD_ENCODINGS = (
    Encoding(format="PNG", mode="RGBA"),
    Encoding(format="JPEG", mode="CMYK", quality=90),
    Encoding(format="PNG", mode="I;16"),
    Encoding(format="GIF", mode="P"),
    Encoding(format="JPEG", mode="L", quality=88),
    Encoding(format="PNG", mode="P"),
)
