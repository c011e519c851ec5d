"""Photo-like pictures without a horizon: flowers before a soft background, still lifes, fields from above."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from filters.planted.textures import (
    Canvas,
    Colour,
    Field,
    Rng,
    around,
    below,
    coarse,
    detail,
    hsv,
    mix,
    paint,
    relight,
    vertical_gradient,
)


def flower(rng: Rng, width: int, height: int) -> Canvas:
    """A sharp subject before an out-of-focus background: a photograph that is not blurred."""
    hue = rng.uniform(0, 1)
    canvas = vertical_gradient(
        width, height, hsv(hue + 0.3, 0.4, rng.uniform(0.1, 0.6)), hsv(hue + 0.45, 0.5, rng.uniform(0.1, 0.5))
    )
    relight(canvas, 1 + np.float32(0.25) * coarse(rng, width, height, power=2.0))
    discs = np.clip(canvas, 0, 255).astype(np.uint8)
    short = min(width, height)
    for _ in range(int(rng.integers(6, 30))):
        centre = (int(rng.uniform(0, width)), int(rng.uniform(0, height)))
        cv2.circle(
            discs,
            centre,
            int(short * rng.uniform(0.02, 0.1)),
            hsv(hue + rng.normal(0.3, 0.15), 0.4, rng.uniform(0.3, 0.9)),
            -1,
        )
    small = cv2.resize(discs, (max(8, width // 8), max(8, height // 8)), interpolation=cv2.INTER_AREA)
    soft = cv2.GaussianBlur(small, (0, 0), max(1.0, short / 8 * 0.012))
    drawing = cv2.resize(soft, (width, height), interpolation=cv2.INTER_CUBIC)
    subject = np.zeros((height, width), np.uint8)
    for _ in range(int(rng.integers(2, 6))):
        _bloom(rng, drawing, subject, short)
    canvas = np.asarray(drawing, np.float32)
    relight(canvas, 1 + subject.astype(np.float32) * np.float32(0.12 / 255) * detail(rng, width, height))
    return canvas


def _bloom(rng: Rng, drawing: np.ndarray, subject: np.ndarray, short: int) -> None:
    height, width = subject.shape
    cx, cy = rng.uniform(0.15, 0.85) * width, rng.uniform(0.15, 0.75) * height
    reach, petals, hue = short * rng.uniform(0.12, 0.36), int(rng.integers(5, 16)), rng.uniform(0, 1)
    stem = [(int(cx), int(cy)), (int(cx + rng.normal(0, 0.1) * short), height)]
    for target, colour in ((drawing, hsv(0.3, 0.6, rng.uniform(0.2, 0.5))), (subject, (255.0, 255.0, 255.0))):
        cv2.line(target, stem[0], stem[1], colour, max(2, int(short * 0.015)), cv2.LINE_AA)
    turn = rng.uniform(0, 360)
    for k in range(petals):
        angle = turn + 360 * k / petals
        ray = np.array([np.cos(np.radians(angle)), np.sin(np.radians(angle))])
        centre = (int(cx + ray[0] * reach * 0.55), int(cy + ray[1] * reach * 0.55))
        axes = (max(1, int(reach * 0.48)), max(1, int(reach * 1.5 / petals)))
        colour = hsv(hue + rng.normal(0, 0.015), rng.uniform(0.4, 0.9), rng.uniform(0.6, 1.0))
        cv2.ellipse(drawing, centre, axes, angle, 0, 360, colour, -1, cv2.LINE_AA)
        cv2.ellipse(
            drawing, centre, axes, angle, 0, 360, mix(colour, (0, 0, 0), 0.4), max(1, short // 500), cv2.LINE_AA
        )
        cv2.ellipse(subject, centre, axes, angle, 0, 360, 255, -1, cv2.LINE_AA)
    for _ in range(60):
        r, a = reach * 0.22 * np.sqrt(rng.random()), rng.uniform(0, 2 * np.pi)
        dot = (int(cx + r * np.cos(a)), int(cy + r * np.sin(a)))
        cv2.circle(
            drawing,
            dot,
            max(1, int(reach * 0.03)),
            hsv(0.12 + rng.normal(0, 0.02), 0.8, rng.uniform(0.2, 0.95)),
            -1,
            cv2.LINE_AA,
        )


def still_life(rng: Rng, width: int, height: int) -> Canvas:
    """Lit balls on a wooden table before a wall, with cast shadows."""
    short, edge = min(width, height), rng.uniform(0.45, 0.7)
    wall = hsv(rng.uniform(0, 1), rng.uniform(0.05, 0.4), rng.uniform(0.3, 0.85))
    canvas = vertical_gradient(width, height, wall, mix(wall, (0, 0, 0), 0.25))
    surface = 1 + np.float32(0.06) * detail(rng, width, height) + np.float32(0.08) * coarse(rng, width, height)
    relight(canvas, surface)
    wood = detail(rng, width, height, stretch_x=12.0, stretch_y=1.0) * np.float32(0.2)
    table = hsv(rng.uniform(0.04, 0.1), rng.uniform(0.3, 0.6), rng.uniform(0.25, 0.6))
    paint(canvas, below(np.full(width, edge * height, np.float32), height), table, wood)
    light = np.array([rng.choice([-1.0, 1.0]) * rng.uniform(0.3, 0.8), -0.6, 0.6])
    light /= np.linalg.norm(light)
    for _ in range(int(rng.integers(2, 6))):
        radius = short * rng.uniform(0.07, 0.2)
        cx, cy = rng.uniform(0.1, 0.9) * width, height * rng.uniform(edge, 0.92) - radius * 0.6
        _sphere(rng, canvas, (cx, cy, radius), light, mix(table, (0, 0, 0), 0.8))
    return canvas


def _sphere(
    rng: Rng, canvas: Canvas, ball: tuple[float, float, float], light: npt.NDArray[np.float64], shadow: Colour
) -> None:
    """A lit ball (centre x, centre y, radius) and the shadow it casts away from `light`."""
    cx, cy, radius = ball
    window = around(canvas, cx, cy, radius * 3.4, radius * 1.4)
    y, x = (axis.astype(np.float32) for axis in np.ogrid[window])
    cast = np.hypot((x - cx + light[0] * radius * 1.2) / 1.8, (y - cy - radius * 0.85) / 0.35)
    paint(canvas[window], np.clip(1.1 - cast / radius, 0, 1).astype(np.float32) * np.float32(0.75), shadow)
    colour = hsv(rng.uniform(0, 1), rng.uniform(0.3, 0.9), rng.uniform(0.5, 0.95))
    window = around(canvas, cx, cy, radius + 1, radius + 1)
    y, x = (axis.astype(np.float32) for axis in np.ogrid[window])
    nx, ny = (x - cx) / radius, (y - cy) / radius
    nz = np.sqrt(np.clip(1 - nx * nx - ny * ny, 0, 1))
    lit = np.clip(nx * light[0] + ny * light[1] + nz * light[2], 0, 1)
    shade = lit * np.float32(0.95) + lit**24 * np.float32(0.8) - np.float32(0.8)
    part = canvas[window]
    shade += detail(rng, part.shape[1], part.shape[0]) * np.float32(rng.uniform(0.02, 0.15)) * (shade + 1)
    mask = np.clip((1 - np.hypot(nx, ny)) * radius + 0.5, 0, 1)
    paint(part, mask.astype(np.float32), colour, shade.astype(np.float32))


def fields(rng: Rng, width: int, height: int) -> Canvas:
    """Farmland from above: patches with furrows, hedges between them, a river across."""
    owner, hedge = _patches(rng, width, height, count := int(rng.integers(8, 40)))
    hues, values = rng.choice([0.09, 0.13, 0.2, 0.27, 0.33], count), rng.uniform(0.25, 0.75, count)
    crops = [hsv(h + rng.normal(0, 0.02), rng.uniform(0.2, 0.7), v) for h, v in zip(hues, values, strict=True)]
    canvas: Canvas = np.array(crops, np.float32)[owner]
    angle, pitch = rng.uniform(0, np.pi, count), rng.uniform(4, 14, count)
    y, x = np.ogrid[:height, :width]
    across = (2 * np.pi / pitch * np.cos(angle)).astype(np.float32)[owner] * x.astype(np.float32)
    along = (2 * np.pi / pitch * np.sin(angle)).astype(np.float32)[owner] * y.astype(np.float32)
    light = 1 + np.float32(0.09) * np.sin(across + along) + np.float32(0.12) * detail(rng, width, height)
    light += np.float32(0.1) * coarse(rng, width, height)
    relight(canvas, np.clip(light, 0.2, 1.8))
    leaves = detail(rng, width, height) * np.float32(0.4)
    paint(canvas, np.clip((max(3.0, width / 160) - hedge) + 0.5, 0, 1), (28, 48, 26), leaves)
    bend = coarse(rng, width, height, power=2.5, cells=24)
    river = np.clip((rng.uniform(0.04, 0.12) - np.abs(bend - rng.uniform(-0.8, 0.8))) * height * 0.12, 0, 1)
    water = hsv(rng.uniform(0.5, 0.62), 0.35, rng.uniform(0.25, 0.7))
    paint(canvas, river.astype(np.float32), water, detail(rng, width, height, stretch_x=3) * np.float32(0.08))
    return canvas


def _patches(rng: Rng, width: int, height: int, count: int) -> tuple[npt.NDArray[np.uint8], Field]:
    """Warped Voronoi cells: which of `count` cells a pixel is in, and its distance from the next one in pixels."""
    scale = max(1, max(width, height) // 200)
    small_w, small_h = width // scale + 1, height // scale + 1
    seeds = rng.uniform(0, 1, (count, 2)) * (small_w, small_h)
    y, x = np.mgrid[:small_h, :small_w].astype(np.float32)
    warp = coarse(rng, small_w, small_h, power=2.0) * np.float32(0.02 * small_w)
    distance = np.stack([np.hypot(x + warp - sx, (y - warp - sy) * 1.3) for sx, sy in seeds]).astype(np.float32)
    nearest = np.partition(distance, 1, axis=0)
    gap = cv2.resize(nearest[1] - nearest[0], (width, height), interpolation=cv2.INTER_LINEAR) * scale
    owner = cv2.resize(distance.argmin(axis=0).astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
    return np.asarray(owner, np.uint8), np.asarray(gap, np.float32)
