"""A folder of the world's pictures as somebody might have collected them, with the truth about each: for demos and tests.

Every sort of picture, at several sizes and in several formats, with the caption that came with it and, for emblems, the facts.
Some are degraded, marked, not for everybody, or have the caption of another picture.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from model.miniature.facts import Emblem, realm_of
from model.miniature.faults import FAULTS, with_fault
from model.miniature.lot import pick
from model.miniature.sorts import SORTS, sort_of
from model.miniature.subject import Subject

IMAGES_FOLDER, TRUTH_FILE = "images", "truth.json"
WRONG_CAPTION = "wrong caption"
# Of a hundred pictures so many have each fault. Our choice.
_FAULTY = {"degraded": 8, "watermark": 8, "unsafe": 6, WRONG_CAPTION: 8}
_SIDES = (128, 128, 192, 256)
_FORMATS: Sequence[tuple[str, Mapping[str, Any]]] = (
    ("png", {}),
    ("png", {}),
    ("jpg", {"quality": 95, "subsampling": 0}),
    ("webp", {"quality": 95}),
)
_SORTS = ("scene", "scene", "scene", "page", "diagram", "emblem", "creature")


@dataclass(frozen=True, slots=True, kw_only=True)
class PlantedPicture:
    """`path` is relative to the root. `fault` is one of FAULTS, WRONG_CAPTION or None. `subject` is its JSON."""

    path: str
    sort: str
    subject: str
    fault: str | None
    caption: str


def render_world(root: Path, seed: int, pictures: int, progress: Callable[[int, int], None]) -> list[PlantedPicture]:
    """Render the folder and write its truth beside it; the same seed gives the same bytes."""
    folder = root / IMAGES_FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    planted = []
    for at in range(pictures):
        planted.append(_one(folder, np.random.default_rng([seed, at]), at))
        progress(at + 1, pictures)
    lines = json.dumps([asdict(item) for item in planted], ensure_ascii=False, indent=0)
    (root / TRUTH_FILE).write_text(lines, encoding="utf-8")
    return planted


def load_world(root: Path) -> list[PlantedPicture]:
    """The truth of a folder that was rendered before."""
    return [PlantedPicture(**item) for item in json.loads((root / TRUTH_FILE).read_text(encoding="utf-8"))]


def _one(folder: Path, rng: np.random.Generator, at: int) -> PlantedPicture:
    sort, fault = pick(rng, _SORTS), _fault(rng)
    subject: Subject = SORTS[sort].sample(rng)
    image = SORTS[sort].picture(subject, pick(rng, _SIDES), int(rng.integers(2**31)))
    if fault in FAULTS:
        image = with_fault(image, fault, rng)
    suffix, settings = pick(rng, _FORMATS)
    path = folder / f"{at:05}.{suffix}"
    image.save(path, **settings)
    caption = _caption(subject, fault, rng)
    path.with_suffix(".txt").write_text(caption, encoding="utf-8")
    realm = realm_of(subject) if isinstance(subject, Emblem) else None
    if realm is not None:
        path.with_suffix(".json").write_text(json.dumps({"facts": realm.facts()}, ensure_ascii=False), encoding="utf-8")
    return PlantedPicture(
        path=f"{IMAGES_FOLDER}/{path.name}", sort=sort, subject=subject.to_json(), fault=fault, caption=caption
    )


def _caption(subject: Subject, fault: str | None, rng: np.random.Generator) -> str:
    """Its own words, or those of a picture of another sort."""
    if fault != WRONG_CAPTION:
        return sort_of(subject).wording(subject, rng)
    others: Sequence[str] = [name for name, sort in SORTS.items() if sort.subject is not type(subject)]
    other = SORTS[pick(rng, others)]
    return other.wording(other.sample(rng), rng)


def _fault(rng: np.random.Generator) -> str | None:
    at = int(rng.integers(100))
    for fault, share in _FAULTY.items():
        if at < share:
            return fault
        at -= share
    return None
