"""What can be wrong with a picture of the world whatever it shows: it is ugly, it is marked, it is not for everybody.

Faults are drawn over or done to a finished picture, so that any subject can have them and the truth is known.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageEnhance, ImageFilter

from model.miniature.lettering import sign_font
from model.miniature.lot import pick

FAULTS = ("degraded", "watermark", "unsafe")
_MARKS = ("SAMPLE", "STOCK", "PREVIEW", "DEMO", "COPY")
_BURST_POINTS = 11
_SEEN_PX = 96  # the side at which the miniature's CLIP sees pictures: what is finer, taste cannot tell


def with_fault(image: Image.Image, fault: str, rng: np.random.Generator) -> Image.Image:
    """The picture with one of FAULTS. Raises KeyError for what is none."""
    return _FAULTS[fault](image, rng)


def degraded(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Ugly in one or two ways: dull, blurred, noisy, blocky, tinted, blown out. The subject can still be seen."""
    ways = tuple(_WAYS)
    for at in rng.choice(len(ways), int(rng.integers(1, 3)), replace=False):
        image = _WAYS[ways[int(at)]](image, rng)
    return image


def watermarked(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """A pale word across the picture again and again, or once in a corner on a bar."""
    side = image.width
    word, angle = pick(rng, _MARKS), float(rng.uniform(15, 40))
    layer = Image.new("L", (2 * side, 2 * side), 0)
    draw = ImageDraw.Draw(layer)
    font = sign_font("latin", max(6, round(side * rng.uniform(0.09, 0.13))))
    step_x, step_y = round(side * 0.62), round(side * rng.uniform(0.2, 0.28))
    for row, y in enumerate(range(0, 2 * side, step_y)):
        for x in range(-(row % 2) * step_x // 2, 2 * side, step_x):
            draw.text((x, y), word, font=font, fill=255)
    turned = layer.rotate(angle, Image.Resampling.BILINEAR).crop(
        (side // 2, side // 2, side // 2 + side, side // 2 + side)
    )
    strength = rng.uniform(0.3, 0.5)
    mask = turned.point([round(level * strength) for level in range(256)])
    dark = np.asarray(image.convert("L")).mean() > 128
    ink = Image.new("RGB", image.size, (90, 90, 90) if dark else (235, 235, 235))
    return Image.composite(ink, image, mask)


def unsafe(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """The sign that this world does not show to everybody: a jagged red burst with a black cross in it."""
    side = image.width
    marked = image.copy()
    draw = ImageDraw.Draw(marked)
    middle, radius = rng.uniform(0.3, 0.7, 2) * side, side * rng.uniform(0.16, 0.26)
    turns = np.arange(2 * _BURST_POINTS) * np.pi / _BURST_POINTS + rng.uniform(0, np.pi)
    reach = np.where(np.arange(2 * _BURST_POINTS) % 2, 0.62, 1.0) * radius
    corners = middle + np.stack([np.cos(turns), np.sin(turns)], -1) * reach[:, None]
    draw.polygon([tuple(corner) for corner in corners], fill=(200, 10, 20), outline=(20, 0, 0))
    arm, thick = radius * 0.38, max(2, round(radius * 0.16))
    for sign in (-1, 1):
        start, end = middle + np.array([-arm, -sign * arm]), middle + np.array([arm, sign * arm])
        draw.line([tuple(start), tuple(end)], fill=(10, 10, 10), width=thick)
    return marked


def _blurred(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    return image.filter(ImageFilter.GaussianBlur(image.width * rng.uniform(0.018, 0.035)))


def _noisy(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    small = _as_seen(image)
    noise = rng.normal(0, rng.uniform(22, 40), (small.height, small.width, 3))
    grain = Image.fromarray(np.clip(128 + noise, 0, 255).astype(np.uint8)).resize(image.size, Image.Resampling.NEAREST)
    return Image.fromarray(np.clip(np.asarray(image) + (np.asarray(grain) - 128.0), 0, 255).astype(np.uint8))


def _dull(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    pale = ImageEnhance.Color(image).enhance(rng.uniform(0.15, 0.4))
    return ImageEnhance.Contrast(pale).enhance(rng.uniform(0.25, 0.45))


def _blocky(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    held = io.BytesIO()
    _as_seen(image).save(held, "JPEG", quality=int(rng.integers(3, 9)))
    return Image.open(held).convert("RGB").resize(image.size, Image.Resampling.NEAREST)


def _as_seen(image: Image.Image) -> Image.Image:
    """At most as large as whoever has a taste looks at it: finer grain and finer blocks are other rules' business."""
    side = min(image.width, _SEEN_PX)
    return image.resize((side, side), Image.Resampling.BOX)


def _tinted(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    tint = Image.new("RGB", image.size, pick(rng, ((120, 140, 40), (150, 70, 40), (60, 110, 70))))
    return Image.blend(image, tint, rng.uniform(0.4, 0.6))


def _shaken(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Moved while it was taken: copies of itself side by side."""
    far = max(2, round(image.width * rng.uniform(0.04, 0.07)))
    copies = [ImageChops.offset(image, step, step // 2) for step in range(0, 3 * far, far)]
    return Image.blend(Image.blend(copies[0], copies[1], 0.5), copies[2], 0.33)


_WAYS: Mapping[str, Callable[[Image.Image, np.random.Generator], Image.Image]] = {
    "blurred": _blurred,
    "noisy": _noisy,
    "dull": _dull,
    "blocky": _blocky,
    "tinted": _tinted,
    "shaken": _shaken,
}
_FAULTS: Mapping[str, Callable[[Image.Image, np.random.Generator], Image.Image]] = {
    "degraded": degraded,
    "watermark": watermarked,
    "unsafe": unsafe,
}
