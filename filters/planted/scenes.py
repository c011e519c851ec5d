"""Photo-like pictures: deterministic from their generator, varied, sharp at native size.

They behave like photographs to a filter: 1/f spectra, occlusion edges, haze, grain. Nothing here is
a photograph, so nothing here needs a licence.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import cv2
import numpy as np
from PIL import Image

from filters.planted.closeups import fields, flower, still_life
from filters.planted.textures import (
    Canvas,
    Colour,
    Mask,
    Rng,
    below,
    coarse,
    detail,
    grain,
    hsv,
    mix,
    paint,
    paint_disc,
    profile,
    relight,
    vertical_gradient,
)

Scene = Callable[[Rng, int, int], Canvas]


def _sky(rng: Rng, width: int, height: int, horizon: float) -> tuple[Canvas, Colour]:
    """Sky with clouds down to `horizon` (share of the height), and the haze colour at the horizon."""
    mood = rng.random()
    if mood < 0.45:  # day
        top = hsv(rng.uniform(0.54, 0.62), rng.uniform(0.35, 0.8), rng.uniform(0.55, 0.9))
        haze = hsv(rng.uniform(0.5, 0.6), rng.uniform(0.05, 0.25), rng.uniform(0.85, 0.98))
    elif mood < 0.75:  # dusk or dawn
        top = hsv(rng.uniform(0.6, 0.85), rng.uniform(0.3, 0.7), rng.uniform(0.25, 0.55))
        haze = hsv(rng.uniform(0.0, 0.13), rng.uniform(0.4, 0.8), rng.uniform(0.8, 1.0))
    else:  # overcast
        top = hsv(rng.uniform(0.5, 0.65), rng.uniform(0.03, 0.15), rng.uniform(0.45, 0.75))
        haze = hsv(rng.uniform(0.1, 0.6), rng.uniform(0.02, 0.1), rng.uniform(0.75, 0.92))
    canvas = vertical_gradient(width, height, top, haze, rng.uniform(0.6, 1.4) / max(horizon, 0.2))
    if rng.random() < 0.5:
        radius = rng.uniform(0.02, 0.09) * height
        cx, cy = rng.uniform(0.1, 0.9) * width, rng.uniform(0.15, 0.95) * horizon * height
        paint_disc(canvas, cx, cy, radius * 3, mix(haze, (255, 250, 230), 0.6), softness_px=radius * 5, opacity=0.5)
        paint_disc(canvas, cx, cy, radius, (255, 252, 240))
    rows = max(8, int(horizon * height))
    cloud = coarse(rng, width, rows, power=1.5) + np.float32(0.3) * detail(
        rng, width, rows, stretch_x=3.0, stretch_y=1.5
    )
    mask = np.zeros((height, width), np.float32)
    mask[:rows] = np.clip((cloud - rng.uniform(-0.2, 1.2)) * rng.uniform(0.5, 1.6), 0, 0.9)
    paint(canvas, mask, mix(haze, (255, 255, 255), rng.uniform(0.2, 0.8)))
    return canvas, haze


def _trees(rng: Rng, width: int, height: int, line: np.ndarray, size: float, count: int) -> Mask:
    """Silhouettes standing on `line`: jagged conifers, or crowns of many small leaves."""
    mask = np.zeros((height, width), np.uint8)
    conifer = rng.random() < 0.5
    for x in rng.uniform(0, width, count):
        foot = float(line[min(width - 1, int(x))]) + 0.05 * size
        tall = size * rng.uniform(0.5, 1.3)
        if conifer:
            steps = np.linspace(0, 1, 15)
            half = tall * 0.22 * steps * np.where(np.arange(15) % 2, 1.0, 0.55) * rng.uniform(0.8, 1.2, 15)
            y = foot - tall * (1 - steps)
            outline = np.concatenate([np.stack([x - half, y], 1), np.stack([x + half, y], 1)[::-1]])
            cv2.fillPoly(mask, [np.round(outline * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
            continue
        cv2.line(
            mask, (int(x), int(foot)), (int(x), int(foot - tall * 0.6)), 255, max(1, int(tall * 0.05)), cv2.LINE_AA
        )
        for dx, dy, r in rng.normal(0, 1, (40, 3)):
            centre = (int(x + dx * tall * 0.16), int(foot - tall * 0.68 + dy * tall * 0.13))
            cv2.circle(mask, centre, max(1, int(tall * 0.03 * (1 + abs(r)))), 255, -1, cv2.LINE_AA)
    return mask.astype(np.float32) / np.float32(255)


def landscape(rng: Rng, width: int, height: int) -> Canvas:
    """Ridges behind ridges under a sky, paler with distance, trees and grass in front."""
    horizon = rng.uniform(0.3, 0.65)
    canvas, haze = _sky(rng, width, height, horizon + 0.1)
    ground = hsv(
        rng.choice([0.07, 0.1, 0.22, 0.28, 0.33, 0.55]) + rng.normal(0, 0.02),
        rng.uniform(0.3, 0.7),
        rng.uniform(0.2, 0.5),
    )
    layers = int(rng.integers(3, 6))
    for layer in range(layers):
        near = (layer + 1) / layers
        relief = rng.uniform(0.06, 0.3) * (1.15 - 0.8 * near) * height
        line = (horizon + (0.95 - horizon) * near**1.6 * 0.85) * height - relief * profile(
            rng, width, rng.uniform(1.1, 1.9)
        )
        texture = detail(rng, width, height, stretch_x=1 + near, stretch_y=1.0) * np.float32(0.08 + 0.16 * near)
        texture += coarse(rng, width, height, power=1.2) * np.float32(0.12)
        colour = mix(haze, ground, 0.25 + 0.75 * near)
        paint(canvas, below(line.astype(np.float32), height), colour, texture)
        if near > 0.5 and rng.random() < 0.65:
            size = rng.uniform(0.08, 0.3) * near * height
            trees = _trees(rng, width, height, line, size, int(rng.integers(6, 50)))
            paint(canvas, trees, mix(colour, (10, 18, 12), 0.65), texture)
    return canvas


def seascape(rng: Rng, width: int, height: int) -> Canvas:
    """Sky over water; waves flatten towards the horizon; rocks in it."""
    horizon = rng.uniform(0.3, 0.6)
    canvas, haze = _sky(rng, width, height, horizon)
    top = int(horizon * height)
    rows = height - top
    sea = hsv(rng.uniform(0.45, 0.62), rng.uniform(0.3, 0.8), rng.uniform(0.2, 0.6))
    far = detail(rng, width, rows, stretch_x=9.0, stretch_y=1.2)
    near = detail(rng, width, rows, stretch_x=5.0, stretch_y=2.5)
    t = np.linspace(0, 1, rows, dtype=np.float32)[:, None]
    waves = far * (1 - t) + near * t
    water = vertical_gradient(width, rows, mix(sea, haze, 0.55), sea, 0.7)
    relight(water, 1 + np.float32(0.22) * waves)
    glint = np.exp(-(((np.arange(width) - rng.uniform(0.2, 0.8) * width) / (0.12 * width)) ** 2)).astype(np.float32)
    water += (np.clip(waves - 0.6, 0, 1) * glint * np.float32(rng.uniform(40, 220)))[..., None]
    canvas[top:] = water
    for _ in range(int(rng.integers(1, 5))):
        span, cx = rng.uniform(0.08, 0.4) * width, rng.uniform(0, 1) * width
        y = rng.uniform(horizon, 0.95) * height
        bump = np.clip(1 - ((np.arange(width) - cx) / (span / 2)) ** 2, 0, None) ** 0.6
        line = y - bump * rng.uniform(0.05, 0.22) * height * (0.5 + profile(rng, width, 1.2))
        rock = below(line.astype(np.float32), height) * (bump > 0) * (np.arange(height)[:, None] < y)
        shade = detail(rng, width, height) * np.float32(0.3)
        paint(canvas, rock.astype(np.float32), hsv(rng.uniform(0, 0.12), 0.25, rng.uniform(0.15, 0.45)), shade)
    return canvas


def city(rng: Rng, width: int, height: int) -> Canvas:
    """Rows of buildings with windows, paler behind, a street in front."""
    canvas, haze = _sky(rng, width, height, 0.7)
    tone, lit = rng.uniform(0, 1), rng.uniform(0.1, 0.8)
    glow = hsv(rng.uniform(0.08, 0.15), 0.5, 1.0)
    drawing = np.clip(canvas, 0, 255).astype(np.uint8)
    for row in range(3):
        x = -rng.uniform(0, 0.1) * width
        while x < width:
            wide = rng.uniform(0.06, 0.2) * width
            roof = height * (0.75 - rng.uniform(0.08, 0.5) * (1.2 - 0.25 * row) + 0.07 * row)
            wall = mix(
                haze, hsv(tone + rng.normal(0, 0.06), rng.uniform(0.05, 0.4), rng.uniform(0.2, 0.75)), 0.4 + 0.3 * row
            )
            cv2.rectangle(drawing, (int(x), int(roof)), (int(x + wide), height), wall, -1)
            side = mix(wall, (0, 0, 0), 0.35)
            cv2.rectangle(drawing, (int(x + wide * 0.78), int(roof)), (int(x + wide), height), side, -1)
            pitch = max(3.0, wide / rng.integers(4, 10))
            for wy in np.arange(roof + pitch, height * 0.92, pitch * rng.uniform(1.1, 1.9)):
                for wx in np.arange(x + pitch * 0.4, x + wide * 0.74, pitch):
                    pane = glow if rng.random() < lit * 0.4 else mix(wall, (12, 18, 30), rng.uniform(0.3, 0.8))
                    corner = (int(wx + pitch * 0.5), int(wy + pitch * 0.6))
                    cv2.rectangle(drawing, (int(wx), int(wy)), corner, pane, -1)
            x += wide * rng.uniform(0.9, 1.3)
    canvas = drawing.astype(np.float32)
    surface = 1 + np.float32(0.06) * detail(rng, width, height) + np.float32(0.06) * coarse(rng, width, height)
    relight(canvas, surface)
    kerb = np.full(width, rng.uniform(0.85, 0.93) * height, np.float32)
    paint(
        canvas,
        below(kerb, height),
        hsv(tone, 0.08, rng.uniform(0.2, 0.4)),
        detail(rng, width, height, stretch_x=4) * np.float32(0.2),
    )
    return canvas


def leaves(rng: Rng, width: int, height: int) -> Canvas:
    """Dead leaves (Ruderman 1997; Lee, Mumford, Huang 2001): occluding shapes, sizes ~ 1/r^3."""
    hue, spread = rng.uniform(0, 1), rng.choice([0.03, 0.08, 0.3])
    drawing = np.zeros((height, width, 3), np.uint8)
    short = min(width, height)
    smallest, largest = 0.012 * short, rng.uniform(0.25, 0.5) * short
    drawing[:] = hsv(hue, 0.5, 0.25)
    count = 1400
    u = rng.random(count)
    radii = 1 / np.sqrt(1 / largest**2 + u * (1 / smallest**2 - 1 / largest**2))
    radii = np.maximum(radii, largest * rng.random(count) ** 3 * 0.5)
    pointed = rng.random() < 0.5
    for radius in radii:
        x, y = rng.uniform(0, width), rng.uniform(0, height)
        colour = hsv(hue + rng.normal(0, spread), rng.uniform(0.2, 0.85), rng.uniform(0.15, 0.95))
        axes = (
            max(1, int(radius)),
            max(1, int(radius * (rng.uniform(0.3, 0.6) if pointed else rng.uniform(0.7, 1.0)))),
        )
        angle = rng.uniform(0, 360)
        cv2.ellipse(drawing, (int(x), int(y)), axes, angle, 0, 360, colour, -1, cv2.LINE_AA)
        if pointed and radius > 8:
            tip = radius * np.array([np.cos(np.radians(angle)), np.sin(np.radians(angle))])
            ends = [(int(x - tip[0]), int(y - tip[1])), (int(x + tip[0]), int(y + tip[1]))]
            cv2.line(drawing, ends[0], ends[1], mix(colour, (0, 0, 0), 0.35), max(1, int(radius / 25)), cv2.LINE_AA)
    canvas = drawing.astype(np.float32)
    light = 1 + np.float32(0.13) * detail(rng, width, height) + np.float32(0.22) * coarse(rng, width, height, power=2.0)
    relight(canvas, np.clip(light, 0.25, 1.6))
    return canvas


def finish(rng: Rng, canvas: Canvas, grain_sigma: float) -> Image.Image:
    """The camera: exposure, white balance, vignette, then grain (8-bit levels)."""
    height, width = canvas.shape[:2]
    exposure = rng.uniform(0.9, 1.1)
    red, green, blue = (float(gain) for gain in rng.uniform(0.94, 1.06, 3) * exposure)
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, width, dtype=np.float32)[None, :]
    vignette = 1 - np.float32(rng.uniform(0.0, 0.14)) * (x * x + y * y)
    relight(canvas, vignette, (red, green, blue))
    grain(canvas, rng, grain_sigma)
    return Image.fromarray(cv2.convertScaleAbs(np.maximum(canvas, 0)))


SCENES: Mapping[str, Scene] = {
    "landscape": landscape,
    "seascape": seascape,
    "city": city,
    "leaves": leaves,
    "flower": flower,
    "still_life": still_life,
    "fields": fields,
}


def photo(
    rng: Rng, width: int, height: int, *, scene: str | None = None, grain_sigma: float | None = None
) -> Image.Image:
    """A clean photo-like picture: sharp at native size, grain of 1..4 levels unless given."""
    name = scene or str(rng.choice(list(SCENES)))
    sigma = float(rng.uniform(1.0, 4.0)) if grain_sigma is None else grain_sigma
    return finish(rng, SCENES[name](rng, width, height), sigma)
