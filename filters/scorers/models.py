"""Scores that only a model can give: their rows come from whoever runs it, at the version of its weights.

A policy names the version that its thresholds were made for; scores by other weights do not count under it.
"""

from __future__ import annotations

import pyarrow as pa

from filters.scorers.scorer import Scorer
from flywheel.schemas import score_spec


def _by_model(name: str, says: str) -> Scorer:
    table = score_spec(name, says, {name: pa.float64()})
    return Scorer(name=name, version="", reads="model", table=table, measure=None, says=says)


AESTHETIC = _by_model("aesthetic", "taste, 1..10, from a head on CLIP embeddings")
NSFW = _by_model("nsfw", "probability that the picture is not safe for work")
WATERMARK = _by_model("watermark", "probability that the picture carries a watermark")
