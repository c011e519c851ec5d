"""Calibrate: a policy whose scorers have moved on gets thresholds for the new numbers at the old yield."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from filters.calibrate import calibration_sql, changed_rules, propose
from filters.policy import diff, parse
from filters.scores_view import scores_sql
from flywheel.errors import UsageError
from flywheel.workspace import Workspace
from pipelines.judging import score_columns, score_versions
from pipelines.policies import active_policy


@dataclass(frozen=True, slots=True)
class Proposal:
    """A policy file at the present scorer versions, and what it changes."""

    text: str
    changes: tuple[str, ...]

    @property
    def document(self) -> dict[str, Any]:
        return {"policy": self.text, "changes": list(self.changes)}


def calibrate(workspace: Workspace) -> Proposal:
    """Propose thresholds for every rule of the active policy whose scorer has a newer version.

    Raises UsageError when none has, PolicyError when too few images are measured at both versions.
    """
    policy, present = active_policy(workspace), score_versions()
    versions = {scorer: present[scorer] for scorer in policy.calibrated_for if scorer in present}
    if not changed_rules(policy, versions):
        raise UsageError(f"policy {policy.name} is calibrated for the scorers as they are; there is nothing to do")
    columns = score_columns()
    views = {
        "old_scores": scores_sql(columns, {**present, **policy.calibrated_for}),
        "new_scores": scores_sql(columns, present),
    }
    rows = workspace.query(calibration_sql(policy, versions, "old_scores", "new_scores"), views).to_pylist()
    text = propose(policy, rows, versions)
    return Proposal(text, diff(policy, parse(text, stored=True)))
