"""Filter: the verdicts of all images under a policy, counted, checked and recorded. No pixel is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from filters.funnel import Funnel, StageChange, assemble, compare, counts_sql
from filters.policy import Policy, check_versions
from flywheel.errors import FlywheelError, PolicyError
from flywheel.workspace import Workspace, runs
from pipelines.judging import score_versions
from pipelines.policies import active_policy
from pipelines.sheet import refresh, sheet_views


def funnel_under(workspace: Workspace, policy: Policy) -> Funnel:
    """The funnel of all images under a policy.

    Raises PolicyError when the scores at hand are of other versions than the policy was calibrated for,
    ConservationError when a stage does not account for every image.
    """
    check_versions(policy, score_versions())
    return _count(workspace, [policy])[0][0]


def judge(workspace: Workspace, *, record: bool = True) -> Funnel:
    """`flywheel filter`: judge under the active policy and record the counts as a run. Raises as `funnel_under`."""
    policy = active_policy(workspace)
    if not record:
        return funnel_under(workspace, policy)
    run = runs.start(workspace, "filter", policy.policy_id)
    try:
        funnel = funnel_under(workspace, policy)
    except FlywheelError as error:
        run.end("failed", {}, {"policy": policy.name, "error": str(error)})
        raise
    counts = {
        f"stage {stage.stage}": {
            "in": stage.images,
            "kept": stage.total.kept,
            "dropped": dict(stage.total.dropped),
            "unjudged": dict(stage.total.unjudged),
        }
        for stage in funnel.stages
    }
    run.end("finished", counts, {"policy": policy.name})
    return funnel


@dataclass(frozen=True, slots=True)
class WhatIf:
    """A funnel under another policy, and what it changes against the active one.

    `incomparable` says why there is nothing to compare with: the active policy cannot judge the scores at hand.
    """

    funnel: Funnel
    changes: tuple[StageChange, ...]
    flipped: int
    incomparable: str | None = None


def what_if(workspace: Workspace, policy: Policy) -> WhatIf:
    """What a policy would do, told by stored numbers alone. Raises as `funnel_under`."""
    active = active_policy(workspace)
    check_versions(policy, score_versions())
    why = _incomparable(active, policy)
    if why is not None or active.policy_id == policy.policy_id:
        return WhatIf(funnel_under(workspace, policy), (), 0, why)
    (before, after), flipped = _count(workspace, [active, policy])
    return WhatIf(after, compare(before, after), flipped)


def _incomparable(active: Policy, policy: Policy) -> str | None:
    try:
        check_versions(active, score_versions())
    except PolicyError as error:
        return f"the active policy cannot judge these scores: {error}"
    models = [one.calibrated_for.get("clip") for one in (active, policy)]
    return None if models[0] == models[1] else f"the active policy reads CLIP by {models[0]}, this one by {models[1]}"


def _count(workspace: Workspace, policies: Sequence[Policy]) -> tuple[list[Funnel], int]:
    """The funnel of each policy, and the images that the second one judges otherwise than the first."""
    refresh(workspace, policies[0])
    # One query, so that both counts are of one moment; where nothing is counted there is one row all the same.
    sql = f"FROM (SELECT count(*) AS listed FROM images) LEFT JOIN ({counts_sql(policies)}) ON true"
    counted = workspace.query(sql, sheet_views(workspace, policies[0])).to_pylist()
    images = counted[0]["listed"]
    flipped = sum(row["images"] or 0 for row in counted if row["side"] is None)
    return [assemble(policy, counted, images, side) for side, policy in enumerate(policies)], flipped
