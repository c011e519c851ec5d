"""Does another judge find the same pictures bad?"""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa

from flywheel.facets import BAR
from flywheel.records import Failure, Locator
from flywheel.suites.item import Item
from flywheel.triage.attribution import Experiment, Finding, Kind
from flywheel.workspace.storage import read_locator
from pipelines.experiments.trial import Trial, share_of
from pipelines.judges import Shown
from pipelines.second_opinion import second_judge

# One picture a prompt, the worst first: pictures of one prompt are alike.
_FAILING = """
SELECT s.*, p.uri, p.member, p."offset", p.length FROM mode_members m
JOIN wanted USING (mode_id) JOIN failures f USING (failure_id) JOIN generations g USING (generation_id)
JOIN suite_items s USING (item_id) JOIN pictures p USING (image_id)
WHERE g.checkpoint_id = wanted.checkpoint_id
QUALIFY row_number() OVER (PARTITION BY s.item_id ORDER BY f.severity DESC, f.failure_id) = 1
ORDER BY f.severity DESC, f.failure_id
"""


def judge_check(trial: Trial, wanted: Experiment) -> Finding:
    rows = _failing(trial)
    second = second_judge(trial.workspace, trial.judge, rows[0]["suite"]) if rows else None
    if second is None:
        return Finding(kind=Kind.JUDGE, shares=None, round=wanted.round)
    shown = [Shown(item=_item(row), picture=read_locator(Locator.of(row))) for row in rows[: wanted.prompts]]
    verdicts = [one for one in second.scored(shown) if not isinstance(one, Failure)]
    bad = [float(one.facets[facet] < BAR) for one in verdicts for facet in one.facets if facet == trial.mode.facet]
    return Finding(kind=Kind.JUDGE, shares={"bad": share_of(bad)}, cost=float(len(shown)), round=wanted.round)


def _failing(trial: Trial) -> list[dict[str, Any]]:
    wanted = pa.table({"mode_id": [trial.mode.mode_id], "checkpoint_id": [trial.generator.checkpoint_id]})
    found: list[dict[str, Any]] = trial.workspace.query(_FAILING, wanted=wanted).to_pylist()
    return found


def _item(row: dict[str, Any]) -> Item:
    return Item(
        suite=row["suite"],
        key=row["key"],
        prompt=row["prompt"],
        labels=json.loads(row["labels_json"]),
        checks=json.loads(row["checks_json"]),
    )
