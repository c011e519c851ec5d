"""Experiments on modes: what `flywheel.triage.attribution` asks for, performed. One file here and one line each."""

from pipelines.experiments.registry import EXPERIMENTS as EXPERIMENTS
