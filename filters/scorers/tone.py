"""How much there is to see: entropy, brightness, colour, flatness."""

from __future__ import annotations

import cv2
import numpy as np
import pyarrow as pa

from filters.scorers.planes import FLAT_STEP, Row, ScaledPlanes, entropy_bits, histogram
from filters.scorers.scorer import Scorer
from flywheel.schemas import score_spec

# A colour of the palette covers at least this share of the picture. Our choice.
PALETTE_SHARE = 1 / 400
LEVELS = np.arange(256, dtype=np.float64)


def measure(planes: ScaledPlanes) -> Row:
    """Entropies are in bits (0..8); means, deviations and shares are 0..1."""
    counts = histogram(planes.luma[::2])
    total = counts.sum()
    mean = float(counts @ LEVELS / total)
    variance = float(counts @ (LEVELS - mean) ** 2 / total)
    rgb = planes.quarter_rgb
    colours = np.asarray(cv2.calcHist([rgb], [0, 1, 2], None, [16, 16, 16], [0, 256] * 3)).ravel()
    seen = rgb.shape[0] * rgb.shape[1]
    return {
        "entropy_bits": entropy_bits(counts),
        "detail_bits": entropy_bits(planes.step_counts),
        "luma_mean": mean / 255,
        "luma_std": variance**0.5 / 255,
        "saturation_mean": _saturation(rgb),
        "clipped_share": float((counts[0] + counts[-1]) / total),
        "flat_share": float(planes.step_counts[: FLAT_STEP + 1].sum() / total),
        "palette_colours": int((colours >= max(1.0, PALETTE_SHARE * seen)).sum()),
        "top_colour_share": float(colours.max() / seen),
        "aspect": planes.luma.shape[1] / planes.luma.shape[0],
    }


def _saturation(rgb: np.ndarray) -> float:
    """Mean HSV chroma (max - min over the channels): grey and near-black count as colourless."""
    red, green, blue = cv2.split(rgb)
    high = cv2.max(cv2.max(red, green), blue)
    low = cv2.min(cv2.min(red, green), blue)
    return float(cv2.mean(cv2.subtract(high, low))[0] / 255)


SCORER = Scorer(
    name="tone",
    version="tone-1",
    reads="scaled",
    table=score_spec(
        "tone",
        "entropy, brightness, colour and flatness of the whole picture",
        {
            "entropy_bits": pa.float64(),
            "detail_bits": pa.float64(),
            "luma_mean": pa.float64(),
            "luma_std": pa.float64(),
            "saturation_mean": pa.float64(),
            "clipped_share": pa.float64(),
            "flat_share": pa.float64(),
            "palette_colours": pa.int32(),
            "top_colour_share": pa.float64(),
            "aspect": pa.float64(),
        },
    ),
    measure=measure,
    says="entropy of luma and of local steps (bits), brightness, colour, share of flat pixels",
)
