"""Experiments are asked for until they decide; what they show leads to a cause, a cause to a track."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flywheel.evidence.share import Share
from flywheel.triage.attribution import (
    SEEDS,
    TRACK_OF,
    Cause,
    Experiment,
    Finding,
    Kind,
    Route,
    Thresholds,
    Track,
    next_step,
)

AT = Thresholds()
# How the world truly is where nothing is wrong with a mode but its pictures: (name of a share, its true value).
FINE: Mapping[Kind, Mapping[str, float]] = {
    Kind.JUDGE: {"bad": 0.97},
    Kind.RECONSTRUCTION: {"survives": 0.98},
    Kind.COVERAGE: {"shown": 0.95, "pool": 0.95},
    Kind.CAPTIONS: {"agrees": 0.95, "healthy": 0.95},
    Kind.RESEED: {"once": 0.02, "ever": 0.05},
    Kind.REWRITE: {"plain": 0.02, "rewritten": 0.03, "gained": 0.03},
}
PLANTED: Mapping[Cause, Mapping[Kind, Mapping[str, float]]] = {
    Cause.SCARCE: {Kind.COVERAGE: {"shown": 0.02, "pool": 0.9}},
    Cause.ABSENT: {Kind.COVERAGE: {"shown": 0.02, "pool": 0.01}},
    Cause.LABEL_NOISE: {Kind.CAPTIONS: {"agrees": 0.35, "healthy": 0.95}, Kind.RESEED: {"once": 0.4, "ever": 0.95}},
    Cause.VAE: {Kind.RECONSTRUCTION: {"survives": 0.1}},
    Cause.PHRASING: {Kind.REWRITE: {"plain": 0.05, "rewritten": 0.95, "gained": 0.95}},
    Cause.UNRELIABLE: {Kind.RESEED: {"once": 0.4, "ever": 0.99}},
    Cause.JUDGE: {Kind.JUDGE: {"bad": 0.05}},
    Cause.COMPOUND: {
        Kind.COVERAGE: {"shown": 0.02, "pool": 0.9},
        Kind.CAPTIONS: {"agrees": 0.35, "healthy": 0.95},
    },
    Cause.UNKNOWN: {},
}


def performed(wanted: Experiment, truth: Mapping[Kind, Mapping[str, float]], lot: np.random.Generator) -> Finding:
    """So many things are looked at, each as the world is."""
    shares = {
        name: Share(mean=float((lot.random(wanted.prompts) < true).mean()), of=wanted.prompts)
        for name, true in truth[wanted.kind].items()
    }
    return Finding(kind=wanted.kind, shares=shares, cost=wanted.prompts * wanted.seeds, round=wanted.round)


def routed(truth: Mapping[Kind, Mapping[str, float]], seed: int, budget: float = 1e9) -> tuple[Route, list[Finding]]:
    lot, findings = np.random.default_rng(seed), list[Finding]()
    while isinstance(step := next_step(findings, budget, AT), Experiment):
        findings.append(performed(step, truth, lot))
        assert len(findings) <= AT.rounds * len(Kind)
    return step, findings


@pytest.mark.parametrize("cause", list(Cause))
def test_what_is_planted_is_found(cause: Cause) -> None:
    truth = {**FINE, **PLANTED[cause]}
    found = [routed(truth, seed)[0] for seed in range(60)]
    assert sum(one.cause == cause for one in found) >= 0.95 * len(found)
    assert {one.track for one in found if one.cause == cause} == {TRACK_OF[cause]}
    assert all(one.because for one in found)


def test_a_scarce_concept_that_a_richer_prompt_draws_is_a_matter_of_phrasing() -> None:
    truth = {**FINE, **PLANTED[Cause.SCARCE], **PLANTED[Cause.PHRASING]}
    assert routed(truth, 0)[0].cause is Cause.PHRASING


def test_what_was_never_shown_also_looks_unreliable() -> None:
    truth = {**FINE, **PLANTED[Cause.SCARCE], **PLANTED[Cause.UNRELIABLE]}
    assert routed(truth, 0)[0].cause is Cause.SCARCE


def test_a_wrong_verdict_ends_it_before_anything_is_drawn() -> None:
    route, findings = routed({**FINE, **PLANTED[Cause.JUDGE]}, 1)
    assert route.track is Track.HUMAN
    assert {one.kind for one in findings} == {Kind.JUDGE}


def test_coverage_that_is_not_known_is_never_zero() -> None:
    """Of open weights nobody knows the training data."""
    lot, findings = np.random.default_rng(0), list[Finding]()
    truth = {**FINE, **PLANTED[Cause.UNRELIABLE]}
    while isinstance(step := next_step(findings, 1e9, AT), Experiment):
        unknown = step.kind in (Kind.COVERAGE, Kind.CAPTIONS)
        findings.append(Finding(kind=step.kind, shares=None) if unknown else performed(step, truth, lot))
    assert (step.cause, step.is_sure) == (Cause.UNRELIABLE, False)
    assert "coverage: not known" in step.because
    assert sum(one.kind is Kind.COVERAGE for one in findings) == 1  # it is not asked again


def test_what_does_not_decide_is_asked_once_more_with_twice_as_many() -> None:
    half = Share(mean=0.5, of=12)
    first = Finding(kind=Kind.JUDGE, shares={"bad": half})
    again = next_step([first], 1e9, AT)
    assert again == Experiment(kind=Kind.JUDGE, prompts=24, round=2)
    second = Finding(kind=Kind.JUDGE, shares={"bad": Share(mean=0.5, of=24)}, round=2)
    step = next_step([first, second], 1e9, AT)
    assert isinstance(step, Experiment)
    assert step.kind is Kind.RECONSTRUCTION


@given(st.integers(0, 4_000), st.integers(0, 99))
def test_at_the_budget_a_person_decides(budget: int, seed: int) -> None:
    route, findings = routed({**FINE, **PLANTED[Cause.UNRELIABLE]}, seed, budget)
    spent = sum(one.cost for one in findings)
    assert spent - findings[-1].cost < budget if findings else budget == 0
    if route.cause is Cause.UNKNOWN:
        assert route.track is Track.HUMAN
        assert not route.is_sure


def test_every_kind_is_at_least_twelve_prompts_of_sixteen_seeds() -> None:
    step = next_step([], 1e9, AT)
    assert isinstance(step, Experiment)
    assert (step.prompts, step.seeds) == (12, SEEDS) == (12, 16)
    assert Thresholds(bad=0.4).thresholds_id != AT.thresholds_id
