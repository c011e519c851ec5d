"""Pictures for training: fresh from the renderer, now and then through what files and resizing do to them."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from model.miniature.build.checkpoint import SIDE_PX
from model.miniature.faults import with_fault
from model.miniature.lot import pick
from model.miniature.sorts import sort_of
from model.miniature.subject import Subject

# Our choice: most pictures as they are drawn at the model's own size; the rest as users may bring them.
_OTHER_SIDES = (64, 80, 128, 192, 256)
_RESIZED, _COMPRESSED = 0.35, 0.15
_FILTERS = (Image.Resampling.BICUBIC, Image.Resampling.LANCZOS, Image.Resampling.BOX)


def picture(subject: Subject, rng: np.random.Generator, fault: str | None = None) -> np.ndarray:
    """(SIDE_PX, SIDE_PX, 3) uint8; with one of FAULTS, where it is named."""
    side = pick(rng, _OTHER_SIDES) if rng.random() < _RESIZED else SIDE_PX
    image = sort_of(subject).picture(subject, side, int(rng.integers(2**31)))
    if fault is not None:
        image = with_fault(image, fault, rng)
    if rng.random() < _COMPRESSED:
        image = compressed(image, int(rng.integers(60, 96)))
    if side != SIDE_PX:
        image = image.resize((SIDE_PX, SIDE_PX), pick(rng, _FILTERS))
    return np.asarray(image)


def compressed(image: Image.Image, quality: int) -> Image.Image:
    held = io.BytesIO()
    image.save(held, "JPEG", quality=quality)
    return Image.open(held).convert("RGB")
