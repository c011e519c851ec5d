"""What heals and is shown to hurt nothing is promoted; nothing else is."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from flywheel.evidence.paired import Paired
from flywheel.gate.decision import POOLED, Evidence, Guarded, Rules, Standing, Verdict, decide
from flywheel.gate.power import prompts_needed
from tests.evidence.updates import update

RULES, SEEDS = Rules(), 4
PROMPTS = 1_600  # what `prompts_needed` says for updates as simulated here, and some more


def evidence(on_target: float, on_healthy: float, lot: np.random.Generator) -> Evidence:
    pooled = update(PROMPTS, SEEDS, right=0.9, effect=on_healthy, lot=lot)
    slices = {f"slice {at}": Paired(candidate=pooled.candidate[at::4], other=pooled.other[at::4]) for at in range(4)}
    target = update(96, SEEDS, right=0.3, effect=on_target, lot=lot)
    return Evidence(targets={"crosses": target}, pooled=pooled, slices=slices)


def verdicts(on_target: float, on_healthy: float, number: int = 60) -> Counter[Verdict]:
    lot = np.random.default_rng(3)
    return Counter(decide(evidence(on_target, on_healthy, lot), RULES, look=2, seed=at).verdict for at in range(number))


def test_what_heals_and_spares_is_promoted() -> None:
    assert verdicts(on_target=0.15, on_healthy=0.0)[Verdict.PROMOTE] >= 0.8 * 60


@pytest.mark.parametrize("on_healthy", [-0.01, -0.02, -0.05])
def test_what_hurts_by_the_margin_or_more_is_not_promoted(on_healthy: float) -> None:
    assert verdicts(on_target=0.15, on_healthy=on_healthy)[Verdict.PROMOTE] <= 0.05 * 60


def test_what_heals_nothing_is_not_promoted() -> None:
    assert verdicts(on_target=0.0, on_healthy=0.0)[Verdict.PROMOTE] <= 0.05 * 60


def test_a_hurt_slice_refuses_though_the_whole_looks_well() -> None:
    found = evidence(0.2, 0.0, np.random.default_rng(1))
    hurt = update(400, SEEDS, right=0.9, effect=-0.15, lot=np.random.default_rng(2))
    decision = decide(replace(found, slices={**found.slices, "rings": hurt}), RULES)
    assert decision.verdict is Verdict.REFUSE
    assert decision.why == "hurts rings"


def test_what_is_protected_and_thinly_covered_blocks() -> None:
    found = evidence(0.2, 0.0, np.random.default_rng(1))
    thin = Guarded(paired=update(30, SEEDS, right=0.9, effect=0.0, lot=np.random.default_rng(2)), margin=0.02)
    guarded = replace(found, protected={"customers' logos": thin})
    assert decide(guarded, RULES, look=1).verdict is Verdict.LOOK_AGAIN
    last = decide(guarded, RULES, look=2)
    assert last.verdict is Verdict.REFUSE
    assert last.why.startswith("not shown: that it spares")
    assert "customers' logos" in last.why
    assert {check.about: check.standing for check in last.checks}["customers' logos"] is Standing.THIN


def test_later_tries_ask_for_more() -> None:
    """Of a target that just holds at the first try: fresh tries share alpha."""
    lot, rules = np.random.default_rng(7), replace(RULES, tries=200)
    found = replace(evidence(0.0, 0.0, lot), targets={"crosses": update(96, SEEDS, right=0.3, effect=0.05, lot=lot)})
    once, often = (decide(found, one) for one in (replace(RULES, tries=1, looks=1), rules))
    assert once.checks[0].standing is Standing.HOLDS
    assert often.checks[0].standing is Standing.OPEN
    assert often.checks[0].low < once.checks[0].low


def test_no_try_beyond_what_is_granted() -> None:
    found = evidence(0.2, 0.0, np.random.default_rng(1))
    for attempt, look in [(4, 1), (0, 1), (1, 3)]:
        with pytest.raises(ValueError, match="at most 3 tries"):
            decide(found, RULES, attempt=attempt, look=look)


def test_enough_prompts_let_an_update_without_effect_pass() -> None:
    lot = np.random.default_rng(11)
    pilot = update(800, SEEDS, right=0.9, effect=0.0, lot=lot)
    needed = prompts_needed(pilot, {f"slice {at}": 0.25 for at in range(4)}, RULES)
    assert RULES.pooled_least / SEEDS < needed < PROMPTS * 1.3
    rougher = prompts_needed(pilot, {}, replace(RULES, pooled_margin=0.05, pooled_least=512))
    assert rougher < needed
    passed = 0
    for at in range(40):
        pooled = update(needed, SEEDS, right=0.9, effect=0.0, lot=lot)
        checks = decide(Evidence(targets={"any": pooled}, pooled=pooled, slices={}), RULES, seed=at).checks
        passed += {check.about: check.standing for check in checks}[POOLED] is Standing.HOLDS
    assert passed >= 0.75 * 40
