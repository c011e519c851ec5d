"""Whether the upright picture still lies on its side, as far as pixels alone can tell."""

from __future__ import annotations

import cv2
import numpy as np
import pyarrow as pa

from filters.scorers.planes import STROKE_STEP, Row, ScaledPlanes, above
from filters.scorers.scorer import Scorer
from filters.scorers.text_density import text_density
from flywheel.schemas import score_spec

# Text is judged where there are several lines of it, a photograph where there is next to none;
# between the two there is no sign that holds, and the scorer abstains. Our choices.
MANY_LINES = 0.25
NO_LINES = 0.08
# Sides must differ by this much (luma 0..1 plus half the smoothness 0..1) for a sky to be one.
MIN_CONTRAST = 0.25
STEEPNESS = 6.0
SMOOTH_STEP = 8
MIN_SIDE_PX = 32


def measure(planes: ScaledPlanes) -> Row:
    """`sideways` and `upside_down`: 0..1, None without a sign. `sign` names what was judged: lines or sky.

    Lines of text make the profile across them jump and leave the one along them smooth; which end of a page is
    up needs reading, so `upside_down` stays None. In photographs the brighter and smoother side is the sky: on
    134 real ones held upright a sideways of 0.9 or more was never reached.
    """
    luma = planes.luma
    if min(luma.shape) < MIN_SIDE_PX:
        return _row(planes, None, None, None)
    density = text_density(planes)
    if density >= MANY_LINES:
        return _row(planes, lines_sideways(planes), None, "lines")
    if density >= NO_LINES:
        return _row(planes, None, None, None)
    vertical, horizontal = sky_contrasts(planes)
    if max(abs(vertical), abs(horizontal)) < MIN_CONTRAST:
        return _row(planes, None, None, None)
    sideways = _logistic(STEEPNESS * (abs(horizontal) - abs(vertical)))
    return _row(planes, sideways, _logistic(STEEPNESS * (-vertical - abs(horizontal))), "sky")


def lines_sideways(planes: ScaledPlanes) -> float | None:
    """Share of the profiles' roughness that lies along x: near 0 for upright lines, near 1 for turned ones."""
    strokes = above(planes.steps, STROKE_STEP)
    rough = [
        float((np.diff(np.asarray(cv2.reduce(strokes, axis, cv2.REDUCE_AVG, dtype=cv2.CV_32F)).ravel()) ** 2).mean())
        for axis in (1, 0)
    ]
    return rough[1] / sum(rough) if sum(rough) > 0 else None


def sky_contrasts(planes: ScaledPlanes) -> tuple[float, float]:
    """Top less bottom and left less right: luma plus half the share of smooth pixels, over outer quarters."""
    smooth = 255 - above(planes.steps, SMOOTH_STEP)
    height, width = smooth.shape
    a, b = height // 4, width // 4
    means = []
    for y, x in (
        (slice(a), slice(None)),
        (slice(-a, None), slice(None)),
        (slice(None), slice(b)),
        (slice(None), slice(-b, None)),
    ):
        means.append((cv2.mean(planes.luma[y, x])[0] + 0.5 * cv2.mean(smooth[y, x])[0]) / 255)
    return means[0] - means[1], means[2] - means[3]


def _logistic(value: float) -> float:
    return float(1 / (1 + np.exp(-value)))


def _row(planes: ScaledPlanes, sideways: float | None, upside_down: float | None, sign: str | None) -> Row:
    applied = planes.view.facts.exif_orientation
    return {"exif_orientation": applied, "sideways": sideways, "upside_down": upside_down, "sign": sign}


SCORER = Scorer(
    name="orientation",
    version="orientation-1",
    reads="scaled",
    table=score_spec(
        "orientation",
        "the EXIF orientation that was applied, and signs that the picture still lies on its side",
        {"exif_orientation": pa.int16(), "sideways": pa.float64(), "upside_down": pa.float64(), "sign": pa.string()},
    ),
    measure=measure,
    says="signs (0..1, null without one) that the upright picture still lies on its side or head",
)
