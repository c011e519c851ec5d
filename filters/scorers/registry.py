"""Every scorer there is, visibly: one file each, registered here and nowhere else."""

from __future__ import annotations

from filters.scorers import (
    blockiness,
    domain,
    jpeg,
    models,
    noise,
    ocr,
    orientation,
    phash,
    sharpness,
    text_density,
    tone,
)
from filters.scorers.scorer import Scorer

SCORERS: dict[str, Scorer] = {
    scorer.name: scorer
    for scorer in (
        tone.SCORER,
        phash.SCORER,
        jpeg.SCORER,
        orientation.SCORER,
        text_density.SCORER,
        sharpness.SCORER,
        noise.SCORER,
        blockiness.SCORER,
        ocr.SCORER,
        domain.SCORER,
        models.AESTHETIC,
        models.NSFW,
        models.WATERMARK,
    )
}
