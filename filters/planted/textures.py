"""Fields and blends that the photo-like scenes are made of.

Natural photographs have amplitude spectra near 1/f (Field 1987); fresh low frequencies make each picture
its own, and crisp detail comes from a few periodic tiles that are rolled, flipped and stretched, so that
a 2400-pixel picture costs no large Fourier transform.
"""

from __future__ import annotations

import colorsys
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

Field = npt.NDArray[np.float32]  # height x width, zero mean, unit deviation
Canvas = npt.NDArray[np.float32]  # height x width x 3, 0..255
Mask = npt.NDArray[np.float32]  # height x width, 0..1
Colour = tuple[float, float, float]  # RGB, 0..255
Rng = np.random.Generator

_TILE_PX = 1024
_TILES = 4


def spectrum_field(rng: Rng, width_px: int, height_px: int, power: float) -> Field:
    """Gaussian field whose amplitude falls as 1/f**power; periodic."""
    fy = np.fft.fftfreq(height_px)[:, None] * height_px
    fx = np.fft.rfftfreq(width_px)[None, :] * width_px
    f = np.hypot(fx, fy)
    f[0, 0] = np.inf
    phase = rng.standard_normal(f.shape) + 1j * rng.standard_normal(f.shape)
    field = np.fft.irfft2(phase / f**power, s=(height_px, width_px))
    return np.asarray(field / (field.std() + 1e-12), np.float32)


@lru_cache(maxsize=_TILES)
def _tile(index: int) -> Field:
    return spectrum_field(np.random.default_rng([1987, index]), _TILE_PX, _TILE_PX, 0.9)


def coarse(rng: Rng, width_px: int, height_px: int, *, power: float = 1.6, cells: int = 80) -> Field:
    """Fresh large-scale structure: `cells` cells along the longer side, upscaled smoothly."""
    longer = max(width_px, height_px)
    small_w, small_h = max(8, cells * width_px // longer), max(8, cells * height_px // longer)
    field = spectrum_field(rng, 2 * small_w, 2 * small_h, power)[:small_h, :small_w]
    field = (field - field.mean()) / (field.std() + 1e-6)
    return np.asarray(cv2.resize(field, (width_px, height_px), interpolation=cv2.INTER_CUBIC), np.float32)


def detail(rng: Rng, width_px: int, height_px: int, *, stretch_x: float = 1.0, stretch_y: float = 1.0) -> Field:
    """Fine native-resolution texture; a stretch above 1 smears it along that axis (water, grass)."""
    need_w, need_h = int(width_px / stretch_x) + 1, int(height_px / stretch_y) + 1
    tile = _tile(int(rng.integers(_TILES)))[:: int(rng.choice([-1, 1])), :: int(rng.choice([-1, 1]))]
    dy, dx = (int(v) for v in rng.integers(0, _TILE_PX, 2))
    columns = np.take(tile, np.arange(dy, dy + need_h), axis=0, mode="wrap")
    field = np.take(columns, np.arange(dx, dx + need_w), axis=1, mode="wrap")
    if (stretch_x, stretch_y) == (1.0, 1.0):
        return field[:height_px, :width_px]
    return np.asarray(cv2.resize(field, (width_px, height_px), interpolation=cv2.INTER_LINEAR), np.float32)


def profile(rng: Rng, length_px: int, power: float) -> npt.NDArray[np.float32]:
    """A fractal line in 0..1, e.g. a ridge or a shore."""
    points = 2 * max(64, length_px)
    f = np.fft.rfftfreq(points) * points
    f[0] = np.inf
    phase = rng.standard_normal(f.size) + 1j * rng.standard_normal(f.size)
    line = np.fft.irfft(phase / f**power, n=points)[:length_px]
    return np.asarray((line - line.min()) / (np.ptp(line) + 1e-9), np.float32)


def hsv(hue: float, saturation: float, value: float) -> Colour:
    """RGB in 0..255; hue wraps, the others are clipped to 0..1."""
    s, v = min(max(saturation, 0.0), 1.0), min(max(value, 0.0), 1.0)
    r, g, b = colorsys.hsv_to_rgb(hue % 1.0, s, v)
    return 255 * r, 255 * g, 255 * b


def mix(a: Colour, b: Colour, share: float) -> Colour:
    """`a` at share 0, `b` at share 1."""
    return a[0] + (b[0] - a[0]) * share, a[1] + (b[1] - a[1]) * share, a[2] + (b[2] - a[2]) * share


def vertical_gradient(width_px: int, height_px: int, top: Colour, bottom: Colour, curve: float = 1.0) -> Canvas:
    t = (np.linspace(0, 1, height_px, dtype=np.float32) ** curve)[:, None, None]
    row = np.asarray(top, np.float32) * (1 - t) + np.asarray(bottom, np.float32) * t
    return np.ascontiguousarray(np.broadcast_to(row, (height_px, width_px, 3)))


def paint(canvas: Canvas, mask: Mask, colour: Colour, shade: Field | None = None) -> None:
    """Blend `colour`, multiplied by 1 + `shade`, into `canvas` where `mask` says; in place."""
    rows = np.flatnonzero(mask.max(axis=1) > 0)
    if not rows.size:
        return
    span = slice(int(rows[0]), int(rows[-1]) + 1)
    part, alpha = canvas[span], mask[span]
    gain = alpha if shade is None else alpha * (1 + shade[span])
    relight(part, 1 - alpha)
    part += cv2.merge([gain * np.float32(level) for level in colour])


def relight(canvas: Canvas, light: Field, balance: Colour = (1.0, 1.0, 1.0)) -> None:
    """Multiply by `light` a pixel and `balance` a channel, in place.

    Channels are merged first: broadcasting over a last axis of length 3 costs four times as much.
    """
    np.multiply(canvas, cv2.merge([light if gain == 1.0 else light * np.float32(gain) for gain in balance]), out=canvas)


def below(line: npt.NDArray[np.float32], height_px: int) -> Mask:
    """1 below the line (a y per column), 0 above, one antialiased pixel between."""
    y = np.arange(height_px, dtype=np.float32)[:, None]
    return np.asarray(np.clip(y - line[None, :] + 0.5, 0, 1), np.float32)


def paint_disc(
    canvas: Canvas,
    cx: float,
    cy: float,
    radius: float,
    colour: Colour,
    *,
    softness_px: float = 1.0,
    opacity: float = 1.0,
) -> None:
    """A disc with an edge `softness_px` wide, in place; only its own window is touched."""
    reach = radius + softness_px
    window = around(canvas, cx, cy, reach, reach)
    part = canvas[window]
    y, x = np.ogrid[window]
    distance = np.hypot(x - cx, y - cy).astype(np.float32)
    paint(part, np.clip((radius - distance) / softness_px + 0.5, 0, 1) * np.float32(opacity), colour)


def around(canvas: Canvas, cx: float, cy: float, reach_x: float, reach_y: float) -> tuple[slice, slice]:
    """The part of the canvas within reach of a point, as (rows, columns); at least one pixel."""
    height, width = canvas.shape[:2]
    left, top = int(np.clip(cx - reach_x, 0, width - 1)), int(np.clip(cy - reach_y, 0, height - 1))
    right, bottom = int(np.clip(cx + reach_x + 2, left + 1, width)), int(np.clip(cy + reach_y + 2, top + 1, height))
    return slice(top, bottom), slice(left, right)


@lru_cache(maxsize=1)
def _white() -> Canvas:
    return np.random.default_rng([1987, _TILES]).standard_normal((_TILE_PX, _TILE_PX, 3), dtype=np.float32)


def grain(canvas: Canvas, rng: Rng, sigma: float) -> None:
    """Add sensor grain of `sigma` 8-bit levels, in place; channels share most of it, as after demosaicing.

    Taken from one white tile at a random place: a period of 1024 pixels is beyond any filter's window.
    """
    mixing = np.full((3, 3), 0.55, np.float32) + np.eye(3, dtype=np.float32) * np.float32(0.35)
    mixing *= np.float32(sigma) / np.linalg.norm(mixing[0])
    height, width = canvas.shape[:2]
    tile = cv2.transform(np.roll(_white(), tuple(rng.integers(0, _TILE_PX, 2)), axis=(0, 1)), mixing)
    for y in range(0, height, _TILE_PX):
        for x in range(0, width, _TILE_PX):
            part = canvas[y : y + _TILE_PX, x : x + _TILE_PX]
            part += tile[: part.shape[0], : part.shape[1]]
