"""Pictures that are not of this world, so that its models learn to abstain: nothing here looks like a photograph, but like
one of each thing that photographs, screens and pages have and the world has not.

Textures at every scale, light that changes over a surface, many small shapes, dense writing, repeated patterns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

from model.miniature.lettering import sign_font
from model.miniature.lot import pick
from model.miniature.vocabulary import LETTERS

Levels = npt.NDArray[np.float64]  # (side, side, 3) of 0..255


def foreign(rng: np.random.Generator, side_px: int) -> Image.Image:
    """One by lot; often two in one, as a thing before a background."""
    ways = tuple(_WAYS.values())
    levels = pick(rng, ways)(rng, side_px)
    if rng.random() < 0.6:
        front, mask = pick(rng, ways)(rng, side_px), _blob(rng, side_px)[..., None]
        levels = levels * (1 - mask) + front * mask
    if rng.random() < 0.4:
        levels = levels + rng.normal(0, rng.uniform(2, 14), levels.shape)
    image = Image.fromarray(np.clip(levels, 0, 255).astype(np.uint8))
    return image.filter(ImageFilter.GaussianBlur(rng.uniform(0, 1.2) * side_px / 96)) if rng.random() < 0.5 else image


def layout(rng: np.random.Generator, side_px: int) -> Image.Image:
    """A page of another world: sparse and clean as this one's, but with paragraphs, tables, charts and frames."""
    paper, tinted = (int(rng.integers(238, 256)),) * 3, _pale(rng) if rng.random() < 0.7 else _dark(rng)
    ground = paper if rng.random() < 0.5 else tinted
    image = Image.new("RGB", (4 * side_px, 4 * side_px), ground)
    draw, side = ImageDraw.Draw(image), 4.0 * side_px
    ink = _dark(rng) if sum(ground) > 380 else _pale(rng)
    if rng.random() < 0.4:
        draw.rectangle((0, 0, side, rng.uniform(0.05, 0.3) * side), fill=_colour(rng))
    for _ in range(int(rng.integers(1, 5))):
        x, y = rng.uniform(0.02, 0.6, 2) * side
        wide, high = rng.uniform(0.25, 0.9) * (side - x), rng.uniform(0.2, 0.9) * (side - y)
        pick(rng, (_paragraph, _paragraph, _table, _bars, _frames))(rng, draw, (x, y, x + wide, y + high), ink)
    return image.reduce(4)


_Box = tuple[float, float, float, float]
_Ink = tuple[int, int, int]


def _paragraph(rng: np.random.Generator, draw: ImageDraw.ImageDraw, box: _Box, ink: _Ink) -> None:
    size, y = float(rng.uniform(0.08, 0.3)) * (box[3] - box[1]), box[1]
    font = sign_font("latin", max(8, round(min(size, 60))))
    while y + size < box[3]:
        words = "".join(pick(rng, (*LETTERS, " ", " ", " ")) for _ in range(int(rng.integers(4, 40))))
        while words and draw.textlength(words, font) > box[2] - box[0]:
            words = words[:-1]
        draw.text((box[0], y), words, font=font, fill=ink)
        y += size * 1.3


def _table(rng: np.random.Generator, draw: ImageDraw.ImageDraw, box: _Box, ink: _Ink) -> None:
    for count, axis in ((int(rng.integers(2, 9)), 0), (int(rng.integers(2, 7)), 1)):
        for at in np.linspace(box[axis], box[axis + 2], count):
            ends = (at, box[1], at, box[3]) if axis == 0 else (box[0], at, box[2], at)
            draw.line(ends, fill=ink, width=int(rng.integers(2, 6)))


def _bars(rng: np.random.Generator, draw: ImageDraw.ImageDraw, box: _Box, ink: _Ink) -> None:
    edges, colour = np.linspace(box[0], box[2], int(rng.integers(4, 12))), _colour(rng)
    for left, right in pairwise(edges):
        top = box[3] - rng.uniform(0.1, 1) * (box[3] - box[1])
        draw.rectangle((left, top, left + 0.7 * (right - left), box[3]), fill=colour)
    draw.line((box[0], box[3], box[2], box[3]), fill=ink, width=4)


def _frames(rng: np.random.Generator, draw: ImageDraw.ImageDraw, box: _Box, ink: _Ink) -> None:
    """Boxes with a word in each, joined by lines."""
    spots = [(rng.uniform(box[0], box[2]), rng.uniform(box[1], box[3])) for _ in range(int(rng.integers(2, 6)))]
    draw.line(spots, fill=ink, width=int(rng.integers(3, 8)))
    wide, high = 12 + rng.uniform(0.08, 0.25, 2) * (box[2] - box[0])  # no smaller than its round corners
    for x, y in spots:
        fill = _pale(rng) if rng.random() < 0.5 else _colour(rng)
        draw.rounded_rectangle((x - wide, y - high, x + wide, y + high), 12, fill, ink, int(rng.integers(2, 6)))


def _clouds(rng: np.random.Generator, side: int) -> Levels:
    """Noise of every scale, the larger the stronger, in two or three colours: skies, skin, ground."""
    steep = rng.uniform(0.7, 2.2)
    fields = np.stack([_field(rng, side, steep) for _ in range(2)], -1)
    low, mid, high = (rng.uniform(0, 255, 3) for _ in range(3))
    first, second = fields[..., :1], fields[..., 1:]
    return np.asarray(low + (mid - low) * first + (high - mid) * 0.6 * second)


def _field(rng: np.random.Generator, side: int, steep: float) -> Levels:
    """(side, side) of 0..1 whose spectrum falls with the frequency to the power `steep`."""
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None])
    frequency[0, 0] = 1
    waves = np.fft.rfft2(rng.normal(size=(side, side))) / frequency**steep
    field = np.fft.irfft2(waves, (side, side))
    return np.asarray((field - field.min()) / (np.ptp(field) + 1e-9))


def _crowd(rng: np.random.Generator, side: int) -> Levels:
    """Many small things in many colours."""
    image = Image.new("RGB", (side, side), _colour(rng))
    draw = ImageDraw.Draw(image)
    size = rng.uniform(0.03, 0.25)
    for _ in range(int(rng.integers(15, 150))):
        x, y = rng.uniform(-0.1, 1.1, 2) * side
        wide, high = rng.uniform(0.3, 1, 2) * size * side
        if rng.random() < 0.5:
            draw.ellipse((x - wide, y - high, x + wide, y + high), fill=_colour(rng))
        else:
            corners = rng.uniform(-1, 1, (int(rng.integers(3, 7)), 2)) * (wide, high) + (x, y)
            draw.polygon([tuple(corner) for corner in corners], fill=_colour(rng))
    return np.asarray(image, dtype=float)


def _print(rng: np.random.Generator, side: int) -> Levels:
    """Dense writing in small letters: documents, screens, labels."""
    light = rng.random() < 0.7
    image = Image.new("RGB", (side, side), _pale(rng) if light else _dark(rng))
    draw = ImageDraw.Draw(image)
    y = rng.uniform(0, 0.1) * side
    while y < side:
        high = max(6, int(side * rng.uniform(0.045, 0.1)))
        letters = "".join(pick(rng, (*LETTERS, " ", " ")) for _ in range(int(rng.integers(6, 50))))
        ink = _dark(rng) if light else _pale(rng)
        draw.text((rng.uniform(0.0, 0.2) * side, y), letters, font=sign_font("latin", high), fill=ink)
        y += high * rng.uniform(1.0, 1.5)
    return np.asarray(image, dtype=float)


def _weave(rng: np.random.Generator, side: int) -> Levels:
    """Bricks, leaves, cloth, water: waves upon waves."""
    y, x = np.mgrid[0:side, 0:side] / side
    waves = np.zeros((side, side))
    for _ in range(int(rng.integers(2, 6))):
        turn, times = rng.uniform(0, np.pi), rng.uniform(4, 40)
        waves += rng.uniform(0.3, 1) * np.sin(
            2 * np.pi * times * (x * np.cos(turn) + y * np.sin(turn)) + rng.uniform(0, 6)
        )
    share = (waves - waves.min())[..., None] / (np.ptp(waves) + 1e-9)
    return np.asarray(rng.uniform(0, 255, 3) * share + rng.uniform(0, 255, 3) * (1 - share))


def _light(rng: np.random.Generator, side: int) -> Levels:
    """Surfaces under light: every face shaded from edge to edge."""
    y, x = np.mgrid[0:side, 0:side] / side
    levels = np.ones((side, side, 3)) * rng.uniform(0, 255, 3)
    for _ in range(int(rng.integers(3, 10))):
        turn, place = rng.uniform(0, 2 * np.pi), rng.uniform(0.2, 0.8, 2)
        ramp = (x - place[0]) * np.cos(turn) + (y - place[1]) * np.sin(turn)
        face = 1 / (1 + np.exp(-ramp * rng.uniform(30, 200)))[..., None]
        shade = (0.6 + 0.8 * rng.random() * (x * np.sin(turn) + y * np.cos(turn)))[..., None]
        levels = levels * (1 - face) + face * shade * rng.uniform(0, 255, 3)
    return levels


def _blob(rng: np.random.Generator, side: int) -> Levels:
    """(side, side) of 0..1: where a thing stands before its background."""
    field = _field(rng, side, rng.uniform(1.5, 2.5))
    edge = np.quantile(field, rng.uniform(0.3, 0.8))
    return np.asarray(1 / (1 + np.exp(-(field - edge) * rng.uniform(40, 300))))


def _colour(rng: np.random.Generator) -> tuple[int, int, int]:
    red, green, blue = rng.integers(0, 256, 3)
    return int(red), int(green), int(blue)


def _pale(rng: np.random.Generator) -> tuple[int, int, int]:
    red, green, blue = 255 - rng.integers(0, 50, 3)
    return int(red), int(green), int(blue)


def _dark(rng: np.random.Generator) -> tuple[int, int, int]:
    red, green, blue = rng.integers(0, 90, 3)
    return int(red), int(green), int(blue)


_WAYS: Mapping[str, Callable[[np.random.Generator, int], Levels]] = {
    "clouds": _clouds,
    "crowd": _crowd,
    "print": _print,
    "weave": _weave,
    "light": _light,
}
