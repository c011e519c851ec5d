"""Edit pairs: does the target keep the reference, and is anything edited at all?

The measure is multi-scale SSIM (Z. Wang et al., 2003) on small luma thumbnails: 1 says that the instruction was not
followed, near 0 that the target is another picture. The rule applies from stage 2, where the report adds edits.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from filters.policy import Policy
from filters.rules import STAGES, Bound, Rule
from filters.verdicts import verdicts_sql
from flywheel.buckets import double
from flywheel.errors import ConservationError

VERSION: Final = "pair-1"

Luma = npt.NDArray[np.uint8]  # height x width of a thumbnail; the picture is squeezed to it
Plane = npt.NDArray[np.float64]
Size = tuple[int, int]  # width and height of the picture, px

WINDOW_PX = 5
MIN_SIDE_PX = 2 * WINDOW_PX
# (0.01 * 255)^2 and (0.03 * 255)^2: Z. Wang et al., "Image quality assessment", IEEE TIP 13(4), 2004.
C1, C2 = 6.5025, 58.5225
# A window less alike than this has visibly changed. Our choice.
CHANGED_BELOW = 0.8

# Edits of one picture look like duplicates, and balance is a matter of single images: neither judges a pair.
NOT_FOR_PAIRS = ("duplicate", "distribution")


@dataclass(frozen=True, slots=True)
class PairScore:
    """Both 0..1. `consistency` is 1 for equal pictures; `changed_area` is the share that visibly differs."""

    consistency: float
    changed_area: float


def consistency(reference: Luma, target: Luma, sizes: tuple[Size, Size]) -> PairScore:
    """Compare two thumbnails of one shape, at least 10 px a side; `sizes` are those of the pictures.

    A target of another aspect ratio is another frame: the score falls by as much as the ratios differ.
    Raises ValueError where the thumbnails cannot be compared.
    """
    if reference.shape != target.shape or min(reference.shape) < MIN_SIDE_PX:
        raise ValueError(f"thumbnails of {reference.shape} and {target.shape}: equal shapes of 10 px a side are needed")
    first, second = reference.astype(np.float64), target.astype(np.float64)
    fine = _likeness(first, second)
    coarse = _likeness(_halved(first), _halved(second))
    (width_a, height_a), (width_b, height_b) = sizes
    ratio = (width_a * height_b) / (width_b * height_a)
    same_frame = min(ratio, 1 / ratio)
    alike = max(0.0, float(fine.mean())) ** 0.5 * max(0.0, float(coarse.mean())) ** 0.5
    return PairScore(min(1.0, alike) * same_frame, float((fine < CHANGED_BELOW).mean()))


def _likeness(first: Plane, second: Plane) -> Plane:
    """SSIM of every window, -1..1."""
    mean_a, mean_b = _means(first), _means(second)
    var_a, var_b = _means(first * first) - mean_a**2, _means(second * second) - mean_b**2
    both = _means(first * second) - mean_a * mean_b
    luma = (2 * mean_a * mean_b + C1) / (mean_a**2 + mean_b**2 + C1)
    return np.asarray(luma * (2 * both + C2) / (var_a + var_b + C2))


def _means(plane: Plane) -> Plane:
    """Mean of every window of WINDOW_PX squared."""
    windows = np.lib.stride_tricks.sliding_window_view(plane, (WINDOW_PX, WINDOW_PX))
    return np.asarray(windows.mean(axis=(2, 3)))


def _halved(plane: Plane) -> Plane:
    height, width = plane.shape[0] // 2, plane.shape[1] // 2
    return np.asarray(plane[: 2 * height, : 2 * width].reshape(height, 2, width, 2).mean(axis=(1, 3)))


@dataclass(frozen=True, slots=True, kw_only=True)
class StagePairs:
    """What becomes of all pairs at one stage; `dropped` by rule, `unjudged` by the first thing that is missing."""

    stage: int
    pairs: int
    kept: int
    dropped: Mapping[str, int]
    unjudged: Mapping[str, int]


# SQL over the view `pair_verdicts`: the cells that `count_pairs` reads.
PAIR_COUNTS: Final = "SELECT stage, verdict, rule, count(*) AS pairs FROM pair_verdicts GROUP BY ALL ORDER BY ALL"


def count_pairs(cells: Iterable[Mapping[str, Any]], pairs: int) -> tuple[StagePairs, ...]:
    """The stages from 2 on, of cells (stage, verdict, rule, pairs); `pairs` is how many there are.

    Raises ConservationError when a stage does not account for every pair.
    """
    counted: dict[tuple[int, str], dict[str, int]] = {}
    for cell in cells:
        counted.setdefault((cell["stage"], cell["verdict"]), {})[cell["rule"] or ""] = cell["pairs"]
    stages = []
    for stage in STAGES[1:]:
        kept, dropped, unjudged = (counted.get((stage, verdict), {}) for verdict in ("kept", "dropped", "unjudged"))
        told = sum(sum(part.values()) for part in (kept, dropped, unjudged))
        if told != pairs:
            raise ConservationError(f"stage {stage}: {told} of {pairs} pairs are accounted for")
        stages.append(StagePairs(stage=stage, pairs=pairs, kept=sum(kept.values()), dropped=dropped, unjudged=unjudged))
    return tuple(stages)


def pair_verdicts_sql(
    policy: Policy,
    version: str = VERSION,
    scores: str = "scores",
    pairs: str = "pairs",
    pair_scores: str = "pair_scores",
) -> str:
    """SQL: one row a (pair_id, stage) from stage 2: verdict, rule, value, threshold, image_id of the image to blame.

    A pair is dropped if a picture of it is, or if its consistency is out of range; else unjudged if a picture is, or
    is not known, or the consistency was not measured at `version`; else kept. The target is blamed before the
    references, pictures before the pair. `unjudged_rules` lists what is missing anywhere in the pair.
    """
    return f"""WITH {_pair_ctes(policy, version, scores, pairs, pair_scores)}
SELECT pair_id, stage,
       CASE WHEN worst IS NOT NULL OR off THEN 'dropped' WHEN len(lacks) > 0 THEN 'unjudged' ELSE 'kept' END AS verdict,
       CASE WHEN worst IS NOT NULL THEN blamed[worst].rule WHEN off THEN 'pair_consistency' ELSE lacks[1] END AS rule,
       CASE WHEN worst IS NOT NULL THEN blamed[worst].value WHEN off THEN consistency END AS value,
       CASE WHEN worst IS NOT NULL THEN blamed[worst].threshold
            WHEN off THEN CASE WHEN consistency < low THEN low ELSE high END END AS threshold,
       CASE WHEN worst IS NOT NULL THEN blamed[worst].image_id END AS image_id,
       lacks AS unjudged_rules
FROM judged"""


def _pair_ctes(policy: Policy, version: str, scores: str, pairs: str, pair_scores: str) -> str:
    """`judged`: one row a pair and stage, with its first dropped picture (`worst`) and everything it lacks."""
    (rule,) = policy.active("pair") or (None,)
    members = verdicts_sql(policy.without(*NOT_FOR_PAIRS), scores)
    unmeasured = "consistency IS NULL" if rule else "false"
    return f"""image_verdicts AS ({members}),
members AS (
  SELECT pair_id, unnest([target_id] || reference_ids) AS image_id,
         generate_subscripts([target_id] || reference_ids, 1) AS place
  FROM {pairs}
),
pictures AS (
  SELECT m.pair_id, s.stage,
         min(m.place) FILTER (v.verdict = 'dropped') AS worst,
         bool_or(v.verdict IS NULL) AS unknown,
         list_sort(list_distinct(flatten(list(coalesce(v.unjudged_rules, []::VARCHAR[]))))) AS missing,
         map_from_entries(list((m.place, {{'image_id': m.image_id, 'rule': v.rule, 'value': v.value,
                                           'threshold': v.threshold}}))) AS blamed
  FROM members m CROSS JOIN (SELECT unnest({list(STAGES[1:])}) AS stage) s
  LEFT JOIN image_verdicts v ON v.image_id = m.image_id AND v.stage = s.stage
  GROUP BY m.pair_id, s.stage
),
measured AS (
  SELECT p.*, {"c.consistency" if rule else "NULL::DOUBLE"} AS consistency, {_limit("min", policy, rule)} AS low,
         {_limit("max", policy, rule)} AS high
  FROM pictures p LEFT JOIN {pair_scores} c ON c.pair_id = p.pair_id AND c.version = '{version}'
),
judged AS (
  SELECT *, coalesce(consistency < low OR consistency > high, false) AS off,
         list_concat(missing, CASE WHEN unknown THEN ['image'] ELSE [] END,
                     CASE WHEN {unmeasured} THEN ['pair_consistency'] ELSE [] END) AS lacks
  FROM measured
)"""


def _limit(bound: Bound, policy: Policy, rule: Rule | None) -> str:
    if rule is None:
        return "NULL::DOUBLE"
    values = policy.values(rule, bound) or ()
    return f"([{', '.join(double(value) for value in values)}])[p.stage - {rule.enters_at_stage - 1}]"
