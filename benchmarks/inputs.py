"""The files that are measured on: generated, the same on every machine, cheap to make."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps

from filters.planted.scenes import SCENES, photo

# 1.15 to 1.23 megapixels, the shapes that cameras and screens give.
SIZES = ((1280, 960), (960, 1280), (1400, 860), (1100, 1100))
# About 1.4 bits a pixel, 0.2 MB a file, as photographs of this size have on the web (15 real ones: 1.06; 111 of all
# sizes: a median of 1.86). HEAVY is what cameras write: 2.1.
QUALITIES, HEAVY = (70, 75, 80, 85), (80, 85, 90, 95)
PER_SCENE = 4
REAL = Path(__file__).parents[1].parent / "shared" / "data" / "photos"


def photos(folder: Path, count: int, qualities: tuple[int, ...] = QUALITIES) -> list[Path]:
    """`count` JPEGs of 1.2 megapixels: scenes, each as drawn, mirrored, turned and both, at rising qualities."""
    folder.mkdir(parents=True, exist_ok=True)
    names = list(SCENES)
    paths = []
    for number in range(0, count, PER_SCENE):
        rng = np.random.default_rng([2, number])
        drawn = photo(rng, *SIZES[number // PER_SCENE % len(SIZES)], scene=names[number // PER_SCENE % len(names)])
        views = (drawn, ImageOps.mirror(drawn), ImageOps.flip(drawn), drawn.rotate(180))
        for offset, view in enumerate(views[: count - number]):
            path = folder / f"{number + offset:05}.jpg"
            view.save(path, quality=qualities[(number // PER_SCENE + offset) % len(qualities)])
            paths.append(path)
    return paths


def cut(whole: list[Path], count: int) -> list[Path]:
    """Truncated copies of the first files, beside them: each ends somewhere in its picture data."""
    paths = []
    for number, path in enumerate(whole[:count]):
        data = path.read_bytes()
        share = 0.3 + 0.6 * number / max(1, count - 1)
        damaged = path.with_name(f"cut-{number:03}.jpg")
        damaged.write_bytes(data[: int(len(data) * share)])
        paths.append(damaged)
    return paths


def small(folder: Path, count: int, side_px: int = 96) -> None:
    """Distinct small JPEGs: windows of a few scenes, each with its own place, brightness and grain."""
    folder.mkdir(parents=True, exist_ok=True)
    names = list(SCENES)
    scenes = [
        np.asarray(photo(np.random.default_rng([3, number]), 900, 700, scene=name)) for number, name in enumerate(names)
    ]
    for number in range(count):
        rng = np.random.default_rng([4, number])
        scene = scenes[number % len(scenes)]
        y, x = rng.integers(0, scene.shape[0] - side_px), rng.integers(0, scene.shape[1] - side_px)
        noise = rng.integers(-6, 7, (side_px, side_px, 1))
        tile = np.clip(scene[y : y + side_px, x : x + side_px].astype(np.int16) + noise, 0, 255).astype(np.uint8)
        place = folder / f"{number // 1000:03}"
        if number % 1000 == 0:
            place.mkdir(exist_ok=True)
        cv2.imwrite(str(place / f"{number:06}.jpg"), tile)


def megapixels(path: Path) -> float:
    """Of one image, from its header."""
    with Image.open(path) as image:
        return image.width * image.height / 1e6
