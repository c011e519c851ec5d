"""Which experiments can be made here: one file and one line each. A kind that is not there is answered: not known."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from flywheel.triage.attribution import Experiment, Finding, Kind
from pipelines.experiments.captions_audit import captions_audit
from pipelines.experiments.coverage import coverage
from pipelines.experiments.judge_check import judge_check
from pipelines.experiments.reconstruction import reconstruction
from pipelines.experiments.reseed import reseed
from pipelines.experiments.rewrite import rewrite
from pipelines.experiments.trial import Trial

EXPERIMENTS: Mapping[Kind, Callable[[Trial, Experiment], Finding]] = {
    Kind.JUDGE: judge_check,
    Kind.RECONSTRUCTION: reconstruction,
    Kind.COVERAGE: coverage,
    Kind.CAPTIONS: captions_audit,
    Kind.RESEED: reseed,
    Kind.REWRITE: rewrite,
}
