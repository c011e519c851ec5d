"""How much of the picture looks like lettering: strong strokes with flat ground beside them."""

from __future__ import annotations

import cv2
import numpy as np
import pyarrow as pa

from filters.scorers.planes import Row, ScaledPlanes
from filters.scorers.scorer import Scorer
from flywheel.schemas import score_spec

# A cell of 8 x 8 px bears text when this share of it lies beside a strong step, and this share of its
# 3 x 3 neighbourhood is flat: leaves and gravel have the strokes but not the ground. Our choice.
STROKE_SHARE = 0.12
GROUND_SHARE = 0.08


def text_density(planes: ScaledPlanes) -> float:
    """Share of the area covered by text-like cells, 0..1."""
    ground = cv2.blur(planes.flat_cells, (3, 3))
    texty = (planes.stroke_cells > STROKE_SHARE) & (ground > GROUND_SHARE)
    return float(np.count_nonzero(texty) / texty.size)


def measure(planes: ScaledPlanes) -> Row:
    """A cheap sign, not a reader: windows and bricks count too; the OCR pass settles it."""
    return {"text_density": text_density(planes), "stroke_share": float(planes.stroke_cells.mean())}


SCORER = Scorer(
    name="text_density",
    version="text_density-1",
    reads="scaled",
    table=score_spec(
        "text_density",
        "share of the picture that looks like lettering",
        {"text_density": pa.float64(), "stroke_share": pa.float64()},
    ),
    measure=measure,
    says="share of the area (0..1) covered by text-like strokes on flat ground",
)
