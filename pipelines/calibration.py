"""Calibrate: a policy whose scorers have moved on gets thresholds for the new numbers at the old yield."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from filters.calibrate import Remeasured, changed_rules, changed_scorers, propose, remeasured_sql
from filters.policy import diff, parse
from filters.rules import Rule
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
    if not changed_scorers(policy, versions):
        raise UsageError(f"policy {policy.name} is calibrated for the scorers as they are; there is nothing to do")
    columns = score_columns()
    views = {
        "old_scores": scores_sql(columns, {**present, **policy.calibrated_for}),
        "new_scores": scores_sql(columns, present),
    }
    found = {rule.name: _remeasured(workspace, rule, views) for rule in changed_rules(policy, versions)}
    text = propose(policy, found, versions)
    return Proposal(text, diff(policy, parse(text, stored=True)))


def _remeasured(workspace: Workspace, rule: Rule, views: dict[str, str]) -> Remeasured:
    rows = workspace.query(remeasured_sql(rule, "old_scores", "new_scores"), views)
    domain = np.array(rows["domain"].to_pylist(), dtype=np.str_)
    return Remeasured(domain, rows["old"].to_numpy(), rows["new"].to_numpy())
