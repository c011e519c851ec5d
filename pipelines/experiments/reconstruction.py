"""Do real pictures of it survive the autoencoder alone?"""

from __future__ import annotations

import json

from flywheel.facets import BAR
from flywheel.records import Failure
from flywheel.triage.attribution import Experiment, Finding, Kind
from model.miniature.suite import as_the_world_draws_it
from pipelines.experiments.trial import Trial, share_of
from pipelines.generators import LocalGenerator
from pipelines.judges import Shown


def reconstruction(trial: Trial, wanted: Experiment) -> Finding:
    """Scenes of fresh prompts as the world itself draws them, through the checkpoint's autoencoder. Not known behind an endpoint."""
    if not isinstance(trial.generator, LocalGenerator):
        return Finding(kind=Kind.RECONSTRUCTION, shares=None, round=wanted.round)
    items = trial.prompts(wanted)
    side_px = int(json.loads(trial.generator.sampler_json)["width_px"])
    real = [as_the_world_draws_it(item, side_px, at) for at, item in enumerate(items)]
    pictures = trial.generator.reconstructed(real)
    shown = [Shown(item=item, picture=picture) for item, picture in zip(items, pictures, strict=True)]
    verdicts = [one for one in trial.judge.scored(shown) if not isinstance(one, Failure)]
    right = [float(one.facets[facet] >= BAR) for one in verdicts for facet in one.facets if facet == trial.mode.facet]
    cost = float(len(items))
    return Finding(kind=Kind.RECONSTRUCTION, shares={"survives": share_of(right)}, cost=cost, round=wanted.round)
