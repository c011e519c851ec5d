"""The second proof of a near duplicate: two small pictures laid over each other, and what does not fit.

A crop of some percent is an own scale and shift along each axis; it is found by Gauss-Newton steps
(Lucas and Kanade, IJCAI 1981) with weights that let an overlay differ. What is left over decides.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import cv2
import numpy as np
import numpy.typing as npt

cv2.ipp.setUseIPP(False)  # its results depend on the alignment of buffers, see filters.scorers.planes

Picture = npt.NDArray[np.float32]  # n x n luma
Warp = npt.NDArray[np.float64]  # scale x, shift x, scale y, shift y; in -1..1 of the picture

STEPS = 8
# Residuals beyond this many deviations of the picture count for little: an overlay. Our choice.
SOFT = 0.35
# A crop of 5 % of each side is a scale of 1.053; two of them on both pictures stay within this. Our choice.
MAX_SCALE, MAX_SHIFT = 1.13, 0.13
# The same places, JPEG apart, differ by less than this (levels) plus a share of the local contrast, which
# covers what a fraction of a pixel does to an edge. Our choice.
TOLERANCE, CONTRAST_SHARE = 10.0, 0.35
WINDOW_AREA = 0.045


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """How two pictures agree where they overlap. Shares are of the overlap, 0..1.

    `differing`: share of pixels that do not agree. `beyond_overlay`: the same without the one compact window
    (at most 4.5 % of the picture) that explains most. `correlation`: of the pixels that agree loosely.
    """

    warp: Warp
    differing: float
    beyond_overlay: float
    correlation: float


def align(still: Picture, moving: Picture, start: Warp | None = None) -> Warp | None:
    """The warp under which `moving` lies on `still`; None when it leaves what a small crop can do."""
    warp = np.array([1.0, 0.0, 1.0, 0.0]) if start is None else start.copy()
    target = _standard(still)
    source = _standard(moving)
    for step in range(STEPS):
        blur = 2.0 if start is None and step < STEPS // 2 else 0.8
        moved = warped(cv2.GaussianBlur(source, (0, 0), blur), warp)
        warp += _update(cv2.GaussianBlur(target, (0, 0), blur), moved)
        if not 0.7 < min(warp[0], warp[2]) <= max(warp[0], warp[2]) < 1.4:
            return None
    scale = max(warp[0], warp[2], 1 / warp[0], 1 / warp[2])
    return warp if scale <= MAX_SCALE and np.abs(warp[1::2]).max() <= MAX_SHIFT else None


def fit(still: Picture, moving: Picture, warp: Warp) -> Fit:
    """Compare after the warp, brightness and contrast set equal over the agreeing pixels."""
    moved, inside = warped(moving, warp), _inside(warp, still.shape[0])
    a, b = still[inside], moved[inside]
    gain, bias = 1.0, float(np.median(a - b))
    near = np.abs(a - b - bias) < SOFT * max(float(a.std()), 8.0)
    if near.sum() > a.size // 4 and float(b[near].var()) > 1:
        gain = float(np.clip(np.cov(a[near], b[near])[0, 1] / b[near].var(), 0.7, 1.4))
        bias = float((a[near] - gain * b[near]).mean())
    moved = gain * moved + np.float32(bias)
    limit = TOLERANCE + CONTRAST_SHARE * np.maximum(contrast(still), contrast(moved))
    off = (np.abs(still - moved) > limit) & inside
    x, y = still[inside & ~off], moved[inside & ~off]
    lively = x.size > 16 and float(x.std()) > 0.5 and float(y.std()) > 0.5
    total = float(inside.sum())
    return Fit(
        warp=warp,
        differing=float(off.sum()) / total,
        beyond_overlay=(float(off.sum()) - _in_window(off)) / total,
        correlation=float(np.corrcoef(x, y)[0, 1]) if lively else 1.0,
    )


def _standard(picture: Picture) -> Picture:
    return np.asarray((picture - picture.mean()) / max(float(picture.std()), 1.0), np.float32)


def warped(picture: Picture, warp: Warp) -> Picture:
    """The picture as it looks through the warp, borders repeated."""
    n = picture.shape[0]
    half = (n - 1) / 2
    matrix = np.array(
        [[warp[0], 0, half * (1 - warp[0] + warp[1])], [0, warp[2], half * (1 - warp[2] + warp[3])]], np.float64
    )
    moved = cv2.warpAffine(
        picture, matrix, (n, n), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(moved, np.float32)


def _inside(warp: Warp, n: int) -> npt.NDArray[np.bool_]:
    place = np.linspace(-1, 1, n)
    across, down = np.abs(warp[0] * place + warp[1]) <= 1, np.abs(warp[2] * place + warp[3]) <= 1
    return np.asarray(down[:, None] & across[None, :], np.bool_)


def _update(target: Picture, moved: Picture) -> Warp:
    """One weighted least-squares step for the four parameters."""
    n = target.shape[0]
    place = np.linspace(-1, 1, n, dtype=np.float32)
    gy, gx = np.gradient(moved)
    scale = np.float32((n - 1) / 2)
    residual = (target - moved).ravel()
    columns = (
        np.stack([(gx * place[None, :]).ravel(), gx.ravel(), (gy * place[:, None]).ravel(), gy.ravel()], axis=1) * scale
    )
    weight = 1 / (1 + (residual / SOFT) ** 2)
    normal = (columns * weight[:, None]).T @ columns + np.eye(4) * 1e-2 * n
    return cast(Warp, np.linalg.solve(normal.astype(np.float64), (columns.T @ (weight * residual)).astype(np.float64)))


def contrast(picture: Picture) -> Picture:
    """Range of the values in each 3 x 3 neighbourhood."""
    return cast(Picture, cv2.morphologyEx(picture, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)))


def _in_window(off: npt.NDArray[np.bool_]) -> float:
    """Most differing pixels that one window of WINDOW_AREA holds: square, wide or tall."""
    n = off.shape[0]
    sums = np.pad(off.astype(np.float64).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    best = 0.0
    for stretch in (1.0, 2.0, 3.5, 5.0):
        high = min(n, max(2, round(n * (WINDOW_AREA / stretch) ** 0.5)))
        wide = min(n, max(2, round(n * n * WINDOW_AREA / high)))
        for y, x in ((high, wide), (wide, high)):
            counts = sums[y:, x:] - sums[:-y, x:] - sums[y:, :-x] + sums[:-y, :-x]
            best = max(best, float(counts.max()))
    return best
