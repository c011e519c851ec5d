"""Scores that only a model can give: their tables exist, their rows come from whoever runs the model."""

from __future__ import annotations

import pyarrow as pa

from filters.scorers.scorer import Scorer
from flywheel.schemas import score_spec


def _by_model(name: str, says: str) -> Scorer:
    table = score_spec(name, says, {name: pa.float64()})
    return Scorer(name=name, version=f"{name}-1", reads="model", table=table, measure=None, says=says)


AESTHETIC = _by_model("aesthetic", "taste, 1..10, from a head on CLIP embeddings")
NSFW = _by_model("nsfw", "probability that the picture is not safe for work")
WATERMARK = _by_model("watermark", "probability that the picture carries a watermark")
