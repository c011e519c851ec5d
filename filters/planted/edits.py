"""What happens to a picture on its way through the web, and what makes it bad.

`edit_*` keep the picture: the result is a near duplicate. `fault_*` damage it.
All take upright RGB pixels and a generator, and return pixels; `Encoding` says how they are stored.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image, ImageDraw

from filters.planted import words
from filters.planted.textures import hsv

Rng = np.random.Generator

EXIF_ORIENTATION = 0x0112
# Pixels stored so that applying the orientation gives the upright picture back (EXIF 2.32, tag 274).
_STORE_FOR: Mapping[int, Image.Transpose] = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
SUFFIX = {"JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp", "TIFF": ".tif", "GIF": ".gif", "BMP": ".bmp", "AVIF": ".avif"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """How pixels are stored. `quality` is the codec's own 0..100 scale."""

    format: str = "JPEG"
    quality: int = 90
    progressive: bool = False
    mode: str = "RGB"
    orientation: int = 1

    @property
    def suffix(self) -> str:
        return SUFFIX[self.format]


def encode(image: Image.Image, encoding: Encoding) -> bytes:
    """The file's bytes. Raises OSError where Pillow was built without the codec."""
    exif = Image.Exif()
    if encoding.orientation != 1:
        image = image.transpose(_STORE_FOR[encoding.orientation])
        exif[EXIF_ORIENTATION] = encoding.orientation
    out = io.BytesIO()
    pixels = _in_mode(image, encoding.mode)
    if encoding.format == "JPEG":
        pixels.save(out, "JPEG", quality=encoding.quality, progressive=encoding.progressive, exif=exif)
    elif encoding.format == "WEBP":
        pixels.save(out, "WEBP", quality=encoding.quality, method=1, exif=exif)
    elif encoding.format == "AVIF":
        # One thread: the encoder's tiling, and so its bytes, follow the number of threads.
        pixels.save(out, "AVIF", quality=encoding.quality, speed=9, max_threads=1, exif=exif)
    elif encoding.format == "PNG":
        pixels.save(out, "PNG", compress_level=1, exif=exif)
    else:
        pixels.save(out, encoding.format)
    return out.getvalue()


def _in_mode(image: Image.Image, mode: str) -> Image.Image:
    if mode == "I;16":
        return Image.fromarray(np.asarray(image.convert("L"), np.uint16) * np.uint16(257))
    if mode == "RGBA":
        alpha = Image.new("L", image.size, 255)
        ImageDraw.Draw(alpha).rectangle((0, 0, image.width // 20, image.height), fill=0)
        image = image.copy()
        image.putalpha(alpha)
        return image
    if mode == "P":
        return image.quantize(256, method=Image.Quantize.FASTOCTREE)
    return image.convert(mode)


def edit_reencode(rng: Rng, image: Image.Image) -> tuple[Image.Image, Encoding]:
    """The same pixels at quality 60..85, often in another format."""
    kind = str(rng.choice(["JPEG", "JPEG", "WEBP", "AVIF"]))
    return image, Encoding(format=kind, quality=int(rng.integers(60, 86)), progressive=bool(rng.random() < 0.3))


def edit_resize(rng: Rng, image: Image.Image) -> tuple[Image.Image, Encoding]:
    """Half the sides, with one of three filters, so that no engine can lean on one of them."""
    resample = (Image.Resampling.LANCZOS, Image.Resampling.BICUBIC, Image.Resampling.BOX)[int(rng.integers(3))]
    size = (max(1, image.width // 2), max(1, image.height // 2))
    return image.resize(size, resample), Encoding(quality=int(rng.integers(80, 93)))


def edit_crop(rng: Rng, image: Image.Image) -> tuple[Image.Image, Encoding]:
    """5 % off each side's length, at a random place (the strict reading: about 10 % of the area)."""
    width, height = round(image.width * 0.95), round(image.height * 0.95)
    x, y = int(rng.integers(0, image.width - width + 1)), int(rng.integers(0, image.height - height + 1))
    return image.crop((x, y, x + width, y + height)), Encoding(quality=int(rng.integers(80, 93)))


def edit_overlay(rng: Rng, image: Image.Image) -> tuple[Image.Image, Encoding]:
    """A logo with a caption in a corner, 2 to 3 % of the area."""
    image = image.copy()
    draw = ImageDraw.Draw(image)
    area = rng.uniform(0.02, 0.03) * image.width * image.height
    high = (area / rng.uniform(2.0, 3.5)) ** 0.5
    wide = min(area / high, image.width * 0.45)
    margin = min(image.size) * 0.02
    x = margin if rng.random() < 0.5 else image.width - margin - wide
    y = margin if rng.random() < 0.5 else image.height - margin - high
    ground = tuple(int(v) for v in hsv(rng.uniform(0, 1), 0.7, rng.uniform(0.2, 0.9)))
    draw.rounded_rectangle((x, y, x + wide, y + high), radius=high * 0.15, fill=ground)
    text = words.pick(rng, words.NOUNS)
    draw.text(
        (x + wide / 2, y + high / 2),
        text,
        font=words.fit(text, wide * 0.85, int(high * 0.6)),
        fill="white",
        anchor="mm",
    )
    return image, Encoding(quality=int(rng.integers(80, 93)))


def edit_resize_reencode(rng: Rng, image: Image.Image) -> tuple[Image.Image, Encoding]:
    smaller, _ = edit_resize(rng, image)
    return edit_reencode(rng, smaller)


def edit_crop_overlay(rng: Rng, image: Image.Image) -> tuple[Image.Image, Encoding]:
    cropped, _ = edit_crop(rng, image)
    return edit_overlay(rng, cropped)


Edit = Callable[[Rng, Image.Image], tuple[Image.Image, Encoding]]

EDITS: Mapping[str, Edit] = {
    "reencode": edit_reencode,
    "resize": edit_resize,
    "crop": edit_crop,
    "overlay": edit_overlay,
    "resize+reencode": edit_resize_reencode,
    "crop+overlay": edit_crop_overlay,
}


def fault_blur(rng: Rng, image: Image.Image) -> Image.Image:
    """Out of focus: a Gaussian or a lens's disc, 0.7 to 1.6 % of the short side, then sensor grain.

    The grain comes after the lens, as in a camera; without it any blur would be trivially smooth.
    """
    pixels = np.asarray(image)
    spread = max(2.5, rng.uniform(0.007, 0.016) * min(image.size))
    if rng.random() < 0.5:
        soft = cv2.GaussianBlur(pixels, (0, 0), spread)
    else:
        radius = int(np.ceil(spread * 1.8))
        y, x = np.ogrid[-radius : radius + 1, -radius : radius + 1]
        kernel = (np.hypot(x, y) <= radius).astype(np.float32)
        soft = cv2.filter2D(pixels, -1, kernel / kernel.sum())
    sigma = np.float32(rng.uniform(0.5, 1.5))
    noisy = soft + rng.standard_normal((*pixels.shape[:2], 1), dtype=np.float32) * sigma
    return Image.fromarray(np.clip(noisy + 0.5, 0, 255).astype(np.uint8))


def fault_noise(rng: Rng, image: Image.Image) -> Image.Image:
    """Strong sensor noise, independent per channel, sigma 20..45 levels."""
    pixels = np.asarray(image)
    noisy = pixels + rng.standard_normal(pixels.shape, dtype=np.float32) * np.float32(rng.uniform(20, 45))
    return Image.fromarray(np.clip(noisy + 0.5, 0, 255).astype(np.uint8))


def fault_compression(rng: Rng, image: Image.Image) -> bytes:
    """A JPEG of quality 4..18 at native size."""
    return encode(image, Encoding(quality=int(rng.integers(4, 19))))


def flat_image(rng: Rng, width: int, height: int, kind: int) -> Image.Image:
    """Nothing to learn from: 0 one colour, 1 a faint gradient, 2 faint noise, 3 an almost empty page."""
    colour = np.asarray(hsv(rng.uniform(0, 1), rng.uniform(0, 0.9), rng.uniform(0.05, 1.0)), np.float32)
    pixels = np.broadcast_to(colour, (height, width, 3)).copy()
    if kind == 1:
        angle = rng.uniform(0, 2 * np.pi)
        y, x = np.linspace(-1, 1, height)[:, None], np.linspace(-1, 1, width)[None, :]
        pixels += ((x * np.cos(angle) + y * np.sin(angle)) * rng.uniform(1.5, 5))[..., None].astype(np.float32)
    elif kind == 2:
        pixels += rng.standard_normal((height, width, 1), dtype=np.float32) * np.float32(rng.uniform(0.4, 1.2))
    image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    if kind == 3:
        cx, cy = rng.uniform(0.1, 0.9) * width, rng.uniform(0.1, 0.9) * height
        r = 0.008 * min(width, height)
        ImageDraw.Draw(image).ellipse((cx - r, cy - r, cx + r, cy + r), fill=tuple(int(255 - v) for v in colour))
    return image
