"""The second proof of a near duplicate: two small pictures laid over each other, and what does not fit.

A crop of some percent is an own scale and shift along each axis; it is found by Gauss-Newton steps
(Lucas and Kanade, IJCAI 1981) with weights that let an overlay differ. What is left over decides.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import cast

import cv2
import numpy as np
import numpy.typing as npt

cv2.ipp.setUseIPP(False)  # its results depend on the alignment of buffers, see filters.scorers.planes

Picture = npt.NDArray[np.float32]  # n x n luma
Warp = npt.NDArray[np.float64]  # scale x, shift x, scale y, shift y; in -1..1 of the picture

# Steps per blur (px of the picture): from coarse to fine where nothing is known, fine alone from a good start.
STEPS = 4
COARSE_BLUR, FINE_BLUR = 2.0, 0.8
# A step that moves nothing by more than this (of half a picture) was the last one of its blur: 1/100 px of 96.
SETTLED = 2e-4
# Residuals beyond this many deviations of the picture count for little: an overlay. Our choice.
SOFT = 0.35
# A crop of 5 % of each side is a scale of 1.053; two of them on both pictures stay within this. Our choice.
MAX_SCALE, MAX_SHIFT = 1.13, 0.13
# The same places, JPEG apart, differ by less than this (levels) plus a share of the local contrast, which
# covers what a fraction of a pixel does to an edge. Our choice.
TOLERANCE, CONTRAST_SHARE = 10.0, 0.35
WINDOW_AREA = 0.045

# The warp of two pictures that lie on each other as they are.
IDENTITY: Warp = np.array([1.0, 0.0, 1.0, 0.0])
IDENTITY.flags.writeable = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """How two pictures agree where they overlap. Shares are of the overlap, 0..1.

    `differing`: share of pixels that do not agree. `beyond_overlay`: the same without the one compact window
    (at most 4.5 % of the picture) that explains most. `of_content`: share of the pixels that stand out from the
    ground of either picture and do not agree. `correlation`: of the pixels that agree loosely.
    """

    differing: float
    beyond_overlay: float
    of_content: float
    correlation: float

    def within(self, limits: Fit) -> bool:
        return (
            self.differing <= limits.differing
            and self.beyond_overlay <= limits.beyond_overlay
            and self.of_content <= limits.of_content
            and self.correlation >= limits.correlation
        )


def align(still: Picture, moving: Picture, start: Warp | None = None) -> Warp | None:
    """The warp under which `moving` lies on `still`; None when it leaves what a small crop can do."""
    warp = (IDENTITY if start is None else start).copy()
    target, source = _standard(still), _standard(moving)
    for blur in (COARSE_BLUR, FINE_BLUR) if start is None else (FINE_BLUR, FINE_BLUR):
        soft_target, soft_source = (cv2.GaussianBlur(one, (0, 0), blur) for one in (target, source))
        for _ in range(STEPS):
            step = _update(soft_target, warped(soft_source, warp))
            warp += step
            if not 0.7 < min(warp[0], warp[2]) <= max(warp[0], warp[2]) < 1.4:
                return None
            if np.abs(step).max() < SETTLED:
                break
    scale = max(warp[0], warp[2], 1 / warp[0], 1 / warp[2])
    return warp if scale <= MAX_SCALE and np.abs(warp[1::2]).max() <= MAX_SHIFT else None


def fit(still: Picture, moving: Picture, warp: Warp, furthest: float = 1.0) -> Fit | None:
    """Compare after the warp, brightness and contrast set equal over the pixels that agree.

    None where more than the share `furthest` differs: most pairs are told apart by that, for little.
    """
    moved, inside = warped(moving, warp), _inside(warp, still.shape[0])
    moved = _relit(still, moved, inside)
    limit = TOLERANCE + CONTRAST_SHARE * np.maximum(contrast(still), contrast(moved))
    off = (np.abs(still - moved) > limit) & inside
    total, differing = float(inside.sum()), float(off.sum())
    if differing > furthest * total:
        return None
    agreeing = inside & ~off
    x, y = still[agreeing], moved[agreeing]
    lively = x.size > 16 and float(x.std()) > 0.5 and float(y.std()) > 0.5
    return Fit(
        differing=differing / total,
        beyond_overlay=(differing - _in_window(off)) / total if differing else 0.0,
        of_content=_of_content(still, moved, inside, off) if differing else 0.0,
        correlation=float(np.corrcoef(x, y)[0, 1]) if lively else 1.0,
    )


def _of_content(still: Picture, moved: Picture, inside: npt.NDArray[np.bool_], off: npt.NDArray[np.bool_]) -> float:
    """The share of `off` in what stands out from the ground, the commonest brightness, of either picture."""
    ground = float(np.median(still[inside]))
    content = (np.maximum(np.abs(still - ground), np.abs(moved - ground)) > TOLERANCE) & inside
    return float((off & content).sum()) / max(float(content.sum()), 1.0)


def _relit(still: Picture, moved: Picture, inside: npt.NDArray[np.bool_]) -> Picture:
    """`moved` in the brightness and contrast of `still`."""
    a, b = still[inside], moved[inside]
    apart = a - b
    gain, bias = 1.0, float(np.median(apart))
    near = np.abs(apart - bias) < SOFT * max(float(a.std()), 8.0)
    if near.sum() > a.size // 4:
        a, b = a[near], b[near]
        mean_a, mean_b, spread = float(a.mean()), float(b.mean()), float(b.var())
        if spread > 1:
            gain = float(np.clip(((a - mean_a) * (b - mean_b)).mean() / spread, 0.7, 1.4))
            bias = mean_a - gain * mean_b
    return np.asarray(np.float32(gain) * moved + np.float32(bias), np.float32)


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
    """One weighted least-squares step for the four parameters.

    Brightness and contrast are solved for along with them: a crop leaves out a dark border, say, and what is left
    is brighter than the whole. Warps that only make up for that would win otherwise.
    """
    n = target.shape[0]
    place, ones, damping = _frame(n)
    slope = (n - 1) / 4  # of a central difference, in half pictures
    gx = cv2.Sobel(moved, cv2.CV_32F, 1, 0, ksize=1, scale=slope)
    gy = cv2.Sobel(moved, cv2.CV_32F, 0, 1, ksize=1, scale=slope)
    columns = np.stack((gx * place, gx, gy * place[:, None], gy, moved, ones)).reshape(6, -1)
    residual = (target - moved).ravel()
    weighted = columns * (1 / (1 + (residual * np.float32(1 / SOFT)) ** 2))
    normal = (weighted @ columns.T).astype(np.float64) + damping
    return cast(Warp, np.linalg.solve(normal, (weighted @ residual).astype(np.float64))[:4])


@cache
def _frame(n: int) -> tuple[Picture, Picture, npt.NDArray[np.float64]]:
    """What every step over n x n pixels needs: places in -1..1, ones, and what keeps a blank picture solvable."""
    return np.linspace(-1, 1, n, dtype=np.float32), np.ones((n, n), np.float32), np.eye(6) * 1e-2 * n


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
