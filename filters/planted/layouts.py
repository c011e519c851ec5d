"""Designed pictures: posters and slides in series that only look alike, diagrams, documents, flat design.

A series is a template with its colours and its decoration; its members differ in their words alone.
Merging two of them would lose a picture, which is why they are planted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from filters.planted import words
from filters.planted.scenes import photo
from filters.planted.textures import Colour, hsv, mix

Rng = np.random.Generator
Box = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wording:
    """What one poster or slide says."""

    title: str
    subtitle: str
    lines: tuple[str, ...]
    foot: str


def poster_wording(rng: Rng) -> Wording:
    return Wording(
        title=words.title(rng),
        subtitle=f"{words.pick(rng, words.EVENTS)} with {words.pick(rng, words.PEOPLE)}",
        lines=tuple(words.sentence(rng) for _ in range(2)),
        foot=f"{words.pick(rng, words.CITIES)}, {words.date(rng)}",
    )


def slide_wording(rng: Rng) -> Wording:
    return Wording(
        title=words.label(rng),
        subtitle=words.title(rng),
        lines=tuple(words.bullet(rng) for _ in range(int(rng.integers(3, 6)))),
        foot=f"{words.date(rng)}  page {int(rng.integers(2, 60))}",
    )


def _rgb(colour: Colour) -> tuple[int, int, int]:
    return int(colour[0]), int(colour[1]), int(colour[2])


def _ink(ground: Colour) -> tuple[int, int, int]:
    luma = 0.299 * ground[0] + 0.587 * ground[1] + 0.114 * ground[2]
    return (18, 20, 28) if luma > 125 else (246, 244, 236)


def _lines(draw: ImageDraw.ImageDraw, lines: list[str], box: Box, size: int, ink: tuple[int, int, int]) -> int:
    """Set wrapped lines from the top of `box`; returns the y below the last one that fits."""
    y = box[1]
    face = words.font(size)
    for paragraph in lines:
        for line in words.wrap(paragraph, box[2] - box[0], face):
            if y + size * 1.3 > box[3]:
                return y
            draw.text((box[0], y), line, font=face, fill=ink)
            y += int(size * 1.32)
        y += size // 2
    return y


@dataclass(frozen=True, slots=True, eq=False)
class PosterTemplate:
    """Everything that the posters of a series share. `ground` is the decorated background."""

    ground: Image.Image
    ink: tuple[int, int, int]
    accent: tuple[int, int, int]
    title_y: float
    centred: bool


def poster_template(rng: Rng, width: int, height: int) -> PosterTemplate:
    base = hsv(rng.uniform(0, 1), rng.uniform(0.15, 0.85), rng.choice([0.2, 0.35, 0.85, 0.95]))
    accent = hsv(rng.uniform(0, 1), rng.uniform(0.5, 0.9), rng.uniform(0.5, 0.95))
    ground = Image.new("RGB", (width, height), _rgb(base))
    draw = ImageDraw.Draw(ground)
    title_y = float(rng.choice([0.1, 0.36, 0.56]))
    art = (
        int(0.08 * width),
        int((0.46 if title_y < 0.2 else 0.06) * height),
        int(0.92 * width),
        int((0.84 if title_y < 0.2 else title_y - 0.05) * height),
    )
    style = int(rng.integers(4))
    if style == 0:
        ground.paste(photo(rng, art[2] - art[0], art[3] - art[1]), art[:2])
    elif style == 1:
        for _ in range(int(rng.integers(4, 12))):
            r = rng.uniform(0.04, 0.2) * width
            x, y = rng.uniform(art[0], art[2]), rng.uniform(art[1], art[3])
            draw.ellipse((x - r, y - r, x + r, y + r), fill=_rgb(mix(accent, base, rng.uniform(0, 0.7))))
    elif style == 2:
        step = (art[3] - art[1]) / rng.integers(5, 12)
        for k, y in enumerate(np.arange(art[1], art[3] - step / 2, step)):
            draw.rectangle(
                (art[0], y, art[0] + (art[2] - art[0]) * rng.uniform(0.3, 1), y + step * 0.6),
                fill=_rgb(mix(accent, base, (k % 3) * 0.3)),
            )
    else:
        for _ in range(int(rng.integers(5, 14))):
            points = [(rng.uniform(art[0], art[2]), rng.uniform(art[1], art[3])) for _ in range(3)]
            draw.polygon(points, fill=_rgb(mix(accent, base, rng.uniform(0, 0.7))))
    band = int(height * 0.9)
    draw.rectangle((0, band, width, height), fill=_rgb(accent))
    return PosterTemplate(
        ground=ground, ink=_ink(base), accent=_rgb(accent), title_y=title_y, centred=bool(rng.random() < 0.4)
    )


def poster(template: PosterTemplate, wording: Wording) -> Image.Image:
    """The template with these words: title in two big lines, subtitle, small print, place and date."""
    image = template.ground.copy()
    draw = ImageDraw.Draw(image)
    width, height = image.size
    left, room = int(0.08 * width), int(0.84 * width)
    size = int(min(width * 0.15, height * 0.1))
    y = int(template.title_y * height)
    for line, share in [*((part, 1.0) for part in wording.title.upper().split()), (wording.subtitle, 0.42)]:
        face = words.fit(line, room, int(size * share))
        x = left + (room - face.getlength(line)) / 2 if template.centred else left
        draw.text((x, y), line, font=face, fill=template.ink)
        y += int(size * share * 1.15)
    bottom = int(height * (0.44 if template.title_y < 0.2 else 0.88))
    _lines(
        draw, list(wording.lines), (left, y + size // 8, left + room, bottom), max(11, int(size * 0.24)), template.ink
    )
    face = words.fit(wording.foot, room, int(height * 0.045))
    draw.text((left, int(height * 0.925)), wording.foot, font=face, fill=_ink(template.accent))
    return image


def slide(rng: Rng, width: int, height: int, wording: Wording) -> Image.Image:
    """A slide of a deck: `rng` decides the deck's looks and chart, `wording` what this page says."""
    dark = rng.random() < 0.3
    base = hsv(rng.uniform(0, 1), 0.4, 0.18) if dark else hsv(rng.uniform(0, 1), 0.04, 0.98)
    accent = hsv(rng.uniform(0, 1), 0.75, 0.7)
    image = Image.new("RGB", (width, height), _rgb(base))
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, width, int(height * 0.15)), fill=_rgb(accent))
    face = words.fit(wording.title, width * 0.85, int(height * 0.085))
    draw.text((width * 0.05, height * 0.03), wording.title, font=face, fill=_ink(accent))
    split = 0.55 if rng.random() < 0.7 else 0.93
    bullets = [f"- {line}" for line in wording.lines]
    box = (int(width * 0.05), int(height * 0.22), int(width * split), int(height * 0.88))
    _lines(draw, bullets, box, int(height * 0.045), _ink(base))
    if split < 0.9:
        _chart(
            draw, rng, (int(width * 0.62), int(height * 0.28), int(width * 0.94), int(height * 0.8)), accent, _ink(base)
        )
    foot = words.font(max(9, int(height * 0.028)))
    draw.text((width * 0.05, height * 0.935), wording.foot, font=foot, fill=_ink(base))
    return image


def _chart(draw: ImageDraw.ImageDraw, rng: Rng, box: Box, accent: Colour, ink: tuple[int, int, int]) -> None:
    x0, y0, x1, y1 = box
    draw.line((x0, y0, x0, y1, x1, y1), fill=ink, width=max(1, (x1 - x0) // 150))
    bars = int(rng.integers(4, 9))
    step = (x1 - x0) / bars
    for k in range(bars):
        top = y1 - (y1 - y0) * rng.uniform(0.1, 0.98)
        left = x0 + step * (k + 0.2)
        draw.rectangle((left, top, left + step * 0.6, y1 - 2), fill=_rgb(mix(accent, (128, 128, 128), 0.4 * (k % 2))))


def diagram(rng: Rng, width: int, height: int) -> Image.Image:
    """Boxes on a grid with arrows from each to later ones, labelled."""
    image = Image.new(
        "RGB", (width, height), _rgb(hsv(rng.uniform(0, 1), rng.uniform(0, 0.05), rng.uniform(0.95, 1.0)))
    )
    draw = ImageDraw.Draw(image)
    columns, rows = (int(v) for v in rng.integers(3, 5, 2))
    cell_w, cell_h, hue = width / columns, height / rows, rng.uniform(0, 1)
    spots = [(c, r) for r in range(rows) for c in range(columns) if r == 0 or rng.random() < 0.7]
    centres = [((c + 0.5 + rng.normal(0, 0.05)) * cell_w, (r + 0.5 + rng.normal(0, 0.05)) * cell_h) for c, r in spots]
    stroke = max(1, min(width, height) // 300)
    for k, start in enumerate(centres[:-1]):
        for target in {k + 1, min(len(centres) - 1, k + int(rng.integers(1, columns + 1)))}:
            _arrow(draw, start, centres[target], stroke, min(cell_w, cell_h) * 0.32)
    for x, y in centres:
        half_w, half_h = cell_w * 0.36, cell_h * 0.24
        fill = hsv(hue + float(rng.choice([0, 0.3, 0.55])), 0.35, 0.93)
        box = (x - half_w, y - half_h, x + half_w, y + half_h)
        shape = draw.ellipse if rng.random() < 0.25 else draw.rectangle
        shape(box, fill=_rgb(fill), outline=(30, 30, 40), width=stroke + 1)
        text = words.label(rng)
        face = words.fit(text, half_w * 1.6, int(min(cell_h * 0.16, width * 0.035)))
        draw.text((x, y), text, font=face, fill=(20, 20, 30), anchor="mm")
    return image


def _arrow(
    draw: ImageDraw.ImageDraw, start: tuple[float, float], end: tuple[float, float], stroke: int, gap: float
) -> None:
    a, b = np.array(start), np.array(end)
    along = (b - a) / (np.linalg.norm(b - a) + 1e-6)
    tip = b - along * gap
    across = np.array([-along[1], along[0]])
    head = stroke * 5
    draw.line((*a, *tip), fill=(40, 44, 60), width=stroke)
    wings = [tuple(tip - along * head * 1.6 + across * side * head) for side in (1, -1)]
    draw.polygon([tuple(tip), *wings], fill=(40, 44, 60))


def document(rng: Rng, width: int, height: int) -> Image.Image:
    """A page of running text with headings; one or two columns."""
    shade = int(rng.integers(238, 256))
    image = Image.new("RGB", (width, height), (shade, shade, max(0, shade - int(rng.integers(0, 10)))))
    draw = ImageDraw.Draw(image)
    ink = (25, 25, 30)
    size = max(8, int(width / rng.uniform(36, 52)))
    heading = words.label(rng)
    draw.text((width * 0.09, height * 0.05), heading, font=words.fit(heading, width * 0.8, size * 2), fill=ink)
    columns = 2 if rng.random() < 0.4 else 1
    room = width * 0.82 / columns
    for column in range(columns):
        left = int(width * 0.09 + room * column)
        text = [" ".join(words.sentence(rng) for _ in range(int(rng.integers(2, 6)))) for _ in range(14)]
        _lines(
            draw, text, (left, int(height * 0.05 + size * 3.4), int(left + room * 0.94), int(height * 0.93)), size, ink
        )
    return image


def design(rng: Rng, width: int, height: int) -> Image.Image:
    """Flat illustration: large areas of few colours, no text."""
    hue = rng.uniform(0, 1)
    base = hsv(hue, rng.uniform(0.2, 0.6), rng.uniform(0.6, 0.95))
    image = Image.new("RGB", (width * 2, height * 2), _rgb(base))
    draw = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(9, 24))):
        x, y = rng.uniform(0, 2 * width), rng.uniform(0, 2 * height)
        r = rng.uniform(0.08, 0.5) * min(width, height)
        fill = _rgb(hsv(hue + float(rng.choice([0, 0.08, 0.5])), rng.uniform(0.3, 0.8), rng.uniform(0.3, 0.95)))
        kind = int(rng.integers(3))
        if kind == 0:
            draw.ellipse((x - r, y - r, x + r, y + r), fill=fill)
        elif kind == 1:
            draw.rounded_rectangle((x - r, y - r * 0.6, x + r, y + r * 0.6), radius=r * 0.2, fill=fill)
        else:
            draw.regular_polygon((x, y, r), int(rng.integers(3, 7)), rotation=int(rng.integers(0, 90)), fill=fill)
    return image.reduce(2)
