"""Attribute: experiments on a mode, one after the other, until its cause is known or the budget is spent.

What an experiment showed is written down before the next one begins: a killed run goes on behind it, and nothing is paid twice.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from flywheel.clock import now
from flywheel.evidence.share import Share
from flywheel.schemas import TABLES
from flywheel.seeds import stable_hash
from flywheel.triage.attribution import Experiment, Finding, Kind, Route, Thresholds, next_step
from flywheel.workspace import Workspace, runs
from pipelines.experiments import EXPERIMENTS
from pipelines.experiments.trial import Trial
from pipelines.mode_events import Event, happened

STEP = "attribute"


def attribute(trial: Trial, budget: float, thresholds: Thresholds) -> Route:
    """`budget`: pictures that may be drawn or judged. Raises UsageError for a mode of which there are no fresh prompts."""
    run = runs.start(trial.workspace, STEP, detail={"mode": trial.mode.mode_id})
    counts = {"experiments": 0, "known": 0}
    with run.recorded(counts):
        findings: list[Finding] = []
        while isinstance(step := next_step(findings, budget, thresholds), Experiment):
            found = _known(trial, step)
            counts["known" if found else "experiments"] += 1
            findings.append(found or _performed(trial, step, run.run_id))
        _kept(trial, step, findings, thresholds, run.run_id)
    run.end("finished", counts)
    return step


def _experiment_id(trial: Trial, wanted: Experiment) -> str:
    inputs = [
        wanted.kind,
        wanted.round,
        wanted.prompts,
        wanted.seeds,
        trial.generator.sampler_json,
        trial.judge.version,
    ]
    return stable_hash([trial.mode.mode_id, trial.generator.checkpoint_id, inputs], 32)


def _known(trial: Trial, wanted: Experiment) -> Finding | None:
    """What the same experiment showed before."""
    rows = trial.workspace.query(
        "SELECT kind, round, shares_json, cost FROM experiments JOIN wanted USING (experiment_id)",
        wanted=pa.table({"experiment_id": [_experiment_id(trial, wanted)]}),
    ).to_pylist()
    return _finding(rows[0]) if rows else None


def _performed(trial: Trial, wanted: Experiment, run_id: str) -> Finding:
    perform = EXPERIMENTS.get(wanted.kind)
    found = perform(trial, wanted) if perform else Finding(kind=wanted.kind, shares=None, round=wanted.round)
    row = {
        "experiment_id": _experiment_id(trial, wanted),
        "mode_id": trial.mode.mode_id,
        "checkpoint_id": trial.generator.checkpoint_id,
        "kind": str(wanted.kind),
        "round": wanted.round,
        "prompts": wanted.prompts,
        "seeds": wanted.seeds,
        "shares_json": _shares_json(found.shares),
        "cost": found.cost,
        "at": now(),
    }
    _append(trial.workspace, "experiments", row, run_id)
    return found


def _kept(trial: Trial, route: Route, findings: Sequence[Finding], thresholds: Thresholds, run_id: str) -> None:
    """The attribution, once for a checkpoint under its thresholds, and the mode's way from now on."""
    row = {
        "mode_id": trial.mode.mode_id,
        "checkpoint_id": trial.generator.checkpoint_id,
        "thresholds_id": thresholds.thresholds_id,
        "cause": str(route.cause),
        "track": str(route.track),
        "is_sure": route.is_sure,
        "because": list(route.because),
        "cost": sum(one.cost for one in findings),
        "at": now(),
    }
    key = {name: [row[name]] for name in TABLES["attributions"].key}
    there = trial.workspace.query(
        f"SELECT 1 FROM attributions JOIN wanted USING ({', '.join(key)})", wanted=pa.table(key)
    )
    if not there.num_rows:
        _append(trial.workspace, "attributions", row, run_id)
        detail = {name: row[name] for name in ("cause", "track", "because", "cost", "checkpoint_id")}
        routed = Event(mode_id=trial.mode.mode_id, event="routed", detail=detail)
        happened(trial.workspace, [routed], actor="flywheel", run_id=run_id)


def _append(workspace: Workspace, name: str, row: Mapping[str, Any], run_id: str) -> None:
    workspace.tables.append(name, pa.Table.from_pylist([dict(row)], schema=TABLES[name].schema), run_id=run_id)


def _shares_json(shares: Mapping[str, Share] | None) -> str | None:
    if shares is None:
        return None
    return json.dumps({name: {"mean": one.mean, "of": one.of} for name, one in shares.items()}, sort_keys=True)


def _finding(row: Mapping[str, Any]) -> Finding:
    told = None if row["shares_json"] is None else json.loads(row["shares_json"])
    shares = None if told is None else {name: Share(**one) for name, one in told.items()}
    return Finding(kind=Kind(row["kind"]), shares=shares, cost=row["cost"], round=row["round"])
