"""Filter: the verdicts of all images under a policy, counted, checked and recorded. No pixel is read."""

from __future__ import annotations

from dataclasses import dataclass

from filters.funnel import Funnel, StageChange, assemble, compare, flips_sql, funnel_sql
from filters.policy import Policy, check_versions
from flywheel.workspace import Workspace, runs
from pipelines.judging import judging_views, score_versions
from pipelines.policies import active_policy


def funnel_under(workspace: Workspace, policy: Policy) -> Funnel:
    """The funnel of all images under a policy.

    Raises PolicyError when the scores at hand are of other versions than the policy was calibrated for,
    ConservationError when a stage does not account for every image.
    """
    check_versions(policy, score_versions())
    images = workspace.query("SELECT count(*) AS n FROM images")["n"][0].as_py()
    cells = workspace.query(funnel_sql(policy), judging_views(workspace, policy)).to_pylist()
    return assemble(policy, cells, images)


def judge(workspace: Workspace, *, record: bool = True) -> Funnel:
    """`flywheel filter`: judge under the active policy and record the counts as a run."""
    policy = active_policy(workspace)
    if not record:
        return funnel_under(workspace, policy)
    run = runs.start(workspace, "filter", policy.policy_id)
    funnel = funnel_under(workspace, policy)
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
    """A funnel under another policy, and what it changes against the active one."""

    funnel: Funnel
    changes: tuple[StageChange, ...]
    flipped: int


def what_if(workspace: Workspace, policy: Policy) -> WhatIf:
    """What a policy would do, told by stored numbers alone."""
    active = active_policy(workspace)
    funnel = funnel_under(workspace, policy)
    if active.policy_id == policy.policy_id:
        return WhatIf(funnel, (), 0)
    flips = workspace.query(
        f"SELECT count(DISTINCT image_id) AS n FROM ({flips_sql(active, policy)})", judging_views(workspace, policy)
    )
    return WhatIf(funnel, compare(funnel_under(workspace, active), funnel), flips["n"][0].as_py())
