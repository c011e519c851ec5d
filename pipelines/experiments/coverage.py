"""How often was it shown in training, beside concepts that do well, and is there more in the pool?

What counts is that a picture shows it, in whichever words: all captions of an image are taken together.
"""

from __future__ import annotations

from collections.abc import Iterable
from statistics import median

import pyarrow as pa

from flywheel.evidence.share import Share
from flywheel.triage.attribution import Experiment, Finding, Kind
from flywheel.triage.terms import terms
from flywheel.workspace import Workspace
from pipelines.checkpoints import shown_in_training
from pipelines.experiments.trial import Parts, Trial, healthy_concepts

_TOLD = """
WITH said AS (SELECT image_id, caption AS "text" FROM sources WHERE caption IS NOT NULL
              UNION ALL SELECT image_id, "text" FROM captions)
SELECT image_id, string_agg("text", ' ' ORDER BY "text") AS told FROM said GROUP BY image_id
"""


def coverage(trial: Trial, wanted: Experiment) -> Finding:
    snapshots = shown_in_training(trial.workspace, trial.generator.checkpoint_id)
    usual = healthy_concepts(trial)
    if snapshots is None or not usual:
        return Finding(kind=Kind.COVERAGE, shares=None, round=wanted.round)
    shown, pool = _told(trial.workspace, snapshots)
    concept = frozenset(trial.mode.parts)
    expected = median(_count(shown.values(), one) for one in usual)
    if expected < 1:
        return Finding(kind=Kind.COVERAGE, shares=None, round=wanted.round)
    shares = {
        "shown": _beside(_count(shown.values(), concept), expected),
        "pool": _beside(_count(pool.values(), concept), expected),
    }
    return Finding(kind=Kind.COVERAGE, shares=shares, round=wanted.round)


def _beside(count: int, expected: float) -> Share:
    return Share(mean=min(1.0, count / expected), of=round(expected))


def _count(told: Iterable[Parts], concept: Parts) -> int:
    return sum(concept <= parts for parts in told)


def _told(workspace: Workspace, snapshots: list[str]) -> tuple[dict[str, Parts], dict[str, Parts]]:
    """What captions tell of the images of these snapshots, and of all others that have any."""
    held = workspace.query(
        "SELECT DISTINCT image_id FROM snapshots JOIN wanted USING (snapshot_id)",
        wanted=pa.table({"snapshot_id": snapshots}),
    )
    inside = set(held["image_id"].to_pylist())
    every = {row["image_id"]: terms(row["told"]) for row in workspace.query(_TOLD).to_pylist()}
    return (
        {image: parts for image, parts in every.items() if image in inside},
        {image: parts for image, parts in every.items() if image not in inside},
    )
