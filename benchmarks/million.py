"""A workspace whose tables hold a million images of generated scores: what questions cost at that size."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from filters.policy import bundled
from filters.scorers import SCORERS
from flywheel.schemas import TABLES, TableSpec
from flywheel.workspace import Workspace
from pipelines.judging import init_workspace

Rng = np.random.Generator
Floats = npt.NDArray[np.float64]

DOMAINS = ("photo", "design", "poster", "slide", "diagram", "document")
DOMAIN_SHARES = (0.62, 0.1, 0.1, 0.06, 0.05, 0.07)
SHORT_SIDES = (240, 512, 768, 1024, 1080, 1536, 2160)
BATCH = 100_000
NEAR_SHARE = 0.06
RUN = "generated"


def filled(place: Path, images: int) -> Workspace:
    """Images, sources, every score and duplicate groups, appended in batches as a large run leaves them."""
    workspace = init_workspace(str(place), "cpu")
    for start in range(0, images, BATCH):
        count = min(BATCH, images - start)
        rng = np.random.default_rng([5, start])
        ids = [hashlib.sha256(f"image {number}".encode()).hexdigest() for number in range(start, start + count)]
        sightings = [hashlib.sha256(f"source {number}".encode()).hexdigest() for number in range(start, start + count)]
        tables = {"sources": _sources(start, ids, sightings), "images": _images(rng, start, ids, sightings)}
        tables["duplicate_groups"] = _groups(rng, ids)
        captions = [f"caption-{number}" for number in range(start, start + count)]
        tables["captions"] = _table(
            TABLES["captions"],
            {
                "caption_id": captions,
                "image_id": ids,
                "kind": ["general"] * count,
                "tokens": rng.integers(2, 60, count),
            },
            count,
        )
        tables["alignment"] = _table(
            TABLES["alignment"],
            {
                "image_id": ids,
                "caption_id": captions,
                "model_id": ["clip-vit-b-32-1"] * count,
                "cosine": np.clip(rng.normal(0.28, 0.04, count), 0, 1),
                "kind": ["general"] * count,
                "tokens": rng.integers(2, 60, count),
            },
            count,
        )
        for scorer in SCORERS.values():
            version = scorer.version or bundled("cpu").calibrated_for[scorer.name]
            columns = {"image_id": ids, "version": [version] * count, **_scores(scorer.name, rng, count)}
            tables[scorer.table.name] = _table(scorer.table, columns, count)
        for name, rows in tables.items():
            workspace.tables.append(name, rows, run_id=RUN)
    return workspace


def _table(spec: TableSpec, columns: dict[str, Any], count: int) -> pa.Table:
    """Columns that were not generated are null: no rule reads them."""
    arrays = [
        pa.array(columns[field.name], field.type) if field.name in columns else pa.nulls(count, field.type)
        for field in spec.schema
    ]
    return pa.Table.from_arrays(arrays, schema=spec.schema)


def _sources(start: int, ids: list[str], sightings: list[str]) -> pa.Table:
    count = len(ids)
    columns = {
        "source_id": sightings,
        "uri": [f"file:///photos/{start + number:07}.jpg" for number in range(count)],
        "fingerprint": [f"{300_000 + number}-0" for number in range(count)],
        "dataset": [f"set-{number % 5}" for number in range(count)],
        "metadata_json": [f'{{"concept": "concept-{number % 300}"}}' for number in range(count)],
        "origin": ["/photos"] * count,
        "image_id": ids,
    }
    return _table(TABLES["sources"], columns, count)


def _images(rng: Rng, start: int, ids: list[str], sightings: list[str]) -> pa.Table:
    count = len(ids)
    short = rng.choice(SHORT_SIDES, count)
    long = (short * rng.choice([1.0, 1.25, 4 / 3, 1.5, 16 / 9, 2.2, 3.6], count)).astype(int)
    wide = rng.random(count) < 0.6
    columns = {
        "image_id": ids,
        "format": ["JPEG"] * count,
        "mode": ["RGB"] * count,
        "width_px": np.where(wide, long, short),
        "height_px": np.where(wide, short, long),
        "exif_orientation": np.ones(count, int),
        "bytes": rng.integers(50_000, 900_000, count),
        "uri": [f"file:///photos/{start + number:07}.jpg" for number in range(count)],
        "source_id": sightings,
    }
    return _table(TABLES["images"], columns, count)


def _groups(rng: Rng, ids: list[str]) -> pa.Table:
    """A twentieth of the images are near duplicates of the first of their neighbours."""
    members = np.flatnonzero(rng.random(len(ids)) < NEAR_SHARE)
    columns = {
        "image_id": [ids[number] for number in members],
        "representative_id": [ids[number - number % 20] for number in members],
        "distance": rng.integers(0, 9, members.size),
        "proof": ["thumb"] * members.size,
    }
    return _table(TABLES["duplicate_groups"], columns, members.size)


def _scores(name: str, rng: Rng, count: int) -> dict[str, Any]:
    """Scores spread so that every threshold of the bundled policies drops some and keeps most."""

    def normal(mean: float, deviation: float, low: float = 0.0, high: float = 1.0) -> Floats:
        return np.clip(rng.normal(mean, deviation, count), low, high)

    if name == "domain":
        return {"domain": rng.choice(DOMAINS, count, p=DOMAIN_SHARES), "domain_confidence": normal(0.8, 0.1)}
    if name == "orientation":
        return {"exif_orientation": np.ones(count, int), "sideways": normal(0.3, 0.25), "upside_down": normal(0.3, 0.2)}
    made: dict[str, dict[str, Any]] = {
        "tone": {
            "entropy_bits": normal(6.5, 1.2, 0, 8),
            "detail_bits": normal(4.5, 1.0, 0, 8),
            "luma_mean": normal(0.5, 0.2),
            "luma_std": normal(0.2, 0.07),
            "saturation_mean": normal(0.3, 0.15),
            "clipped_share": normal(0.02, 0.03),
            "flat_share": normal(0.4, 0.22),
            "palette_colours": rng.integers(3, 120, count),
            "top_colour_share": normal(0.2, 0.15),
            "aspect": normal(1.4, 0.5, 0.3, 3.6),
        },
        "phash": {"phash": rng.integers(-(2**62), 2**62, count)},
        "jpeg": {"quality": rng.integers(20, 100, count), "bits_per_px": normal(2.0, 0.8, 0.1, 9)},
        "text_density": {"text_density": normal(0.05, 0.08), "stroke_share": normal(0.1, 0.05)},
        "sharpness": {"sharpness": normal(0.68, 0.12), "blur_px": normal(0.6, 0.3, 0, 9)},
        "noise": {"sigma": normal(3.0, 2.5, 0, 40)},
        "blockiness": {"blockiness": normal(0.4, 0.4, 0, 4), "grid_excess": normal(0.2, 0.2)},
        "ocr": {"words": rng.integers(0, 60, count), "text_area": normal(0.04, 0.06)},
        "aesthetic": {"aesthetic": normal(5.2, 1.0, 1, 10)},
        "nsfw": {"nsfw": normal(0.05, 0.08)},
        "watermark": {"watermark": normal(0.05, 0.1)},
    }
    return made[name]
