"""Where the layers meet: a workspace with every scorer's table, and the views that a policy gives it."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from filters.policy import Policy, bundled_text
from filters.scorers import SCORERS
from filters.scores_view import judged_views
from flywheel.workspace import Workspace
from pipelines.policies import activate, active_policy


def open_workspace(location: str) -> Workspace:
    """Open a workspace and create the table of any scorer that is new to it."""
    workspace = Workspace.open(location)
    _ensure_scores(workspace)
    return workspace


def init_workspace(location: str, profile: str = "miniature") -> Workspace:
    """Create a workspace that can judge: score tables, and the profile's policy activated."""
    workspace = Workspace.init(location, profile)
    _ensure_scores(workspace)
    activate(workspace, bundled_text(profile))
    return workspace


def judging_views(
    workspace: Workspace, policy: Policy | None = None, allow_unjudged: Collection[str] = ()
) -> Mapping[str, str]:
    """SQL of `scores`, `verdicts`, `funnel` and `survivors(n)` under a policy (default: the active one).

    Rules in `allow_unjudged` leave no image unjudged.
    """
    return judged_views(policy or active_policy(workspace), score_columns(), score_versions(), allow_unjudged)


def score_columns() -> dict[str, tuple[str, ...]]:
    return {name: scorer.columns for name, scorer in SCORERS.items()}


def score_versions() -> dict[str, str]:
    """The versions of what the program itself measures. Those of models are pinned by the policy."""
    return {name: scorer.version for name, scorer in SCORERS.items() if scorer.reads != "model"}


def _ensure_scores(workspace: Workspace) -> None:
    present = set(workspace.tables.names())
    for scorer in SCORERS.values():
        if scorer.table.name not in present:
            workspace.tables.ensure(scorer.table)
