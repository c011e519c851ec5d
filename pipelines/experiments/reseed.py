"""Does it come right under other seeds, of the same prompts?"""

from __future__ import annotations

from flywheel.triage.attribution import Experiment, Finding, Kind
from pipelines.experiments.trial import Trial, right_by_prompt, share_of


def reseed(trial: Trial, wanted: Experiment) -> Finding:
    items = trial.prompts(wanted)
    right = right_by_prompt(trial.drawn(items, wanted.seeds), trial.mode.facet)
    once = share_of([sum(of) / len(of) for of in right.values()])
    ever = share_of([float(any(of)) for of in right.values()])
    cost = float(len(items) * wanted.seeds)
    return Finding(kind=Kind.RESEED, shares={"once": once, "ever": ever}, cost=cost, round=wanted.round)
