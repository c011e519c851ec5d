"""The gate's rule: promoted is what heals a target and is shown to harm nothing.

    target      better than the control arm, which had equal compute and none of the new data; one-sided, Holm over targets
    harm        beside the checkpoint before: not worse by the margin, on all healthy prompts together and on each slice
                (intersection-union: all must hold, so that each is tested at full alpha), and on what is protected by name

What is neither shown nor excluded is looked at again with more prompts, then refused: the burden is the candidate's.
A plan has so many tries, each with fresh prompts; its targets share alpha over tries and looks, or trying often would heal by chance.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from flywheel.evidence.paired import Paired, estimate, holm

POOLED = "all healthy prompts"


class Verdict(StrEnum):
    PROMOTE = "promote"
    REFUSE = "refuse"
    LOOK_AGAIN = "look again"


class Standing(StrEnum):
    """Of one question. OPEN: neither shown nor excluded. THIN: too few pairs to ask."""

    HOLDS = "holds"
    FAILS = "fails"
    OPEN = "open"
    THIN = "thin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Margins are shares of pictures; `least` are pairs of pictures. Our choice, but for what the demo may widen."""

    alpha: float = 0.05
    pooled_margin: float = 0.01
    pooled_least: int = 4_096
    slice_margin: float = 0.05
    slice_least: int = 512
    tries: int = 3
    looks: int = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Guarded:
    """A slice that the configuration protects by name, with a margin of its own."""

    paired: Paired
    margin: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """`targets` are held against the control arm, all else against the checkpoint before."""

    targets: Mapping[str, Paired]
    pooled: Paired
    slices: Mapping[str, Paired]
    protected: Mapping[str, Guarded] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One question and its answer. `low` and `high` bound the difference at the alpha of this look."""

    question: str
    about: str
    standing: Standing
    difference: float
    low: float
    high: float
    margin: float
    pairs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    verdict: Verdict
    why: str
    checks: tuple[Check, ...]


def decide(evidence: Evidence, rules: Rules, *, attempt: int = 1, look: int = 1, seed: int = 0) -> Decision:
    """Raises ValueError for a try or a look beyond what the rules grant, or without a target."""
    if not 1 <= attempt <= rules.tries or not 1 <= look <= rules.looks or not evidence.targets:
        raise ValueError(f"at most {rules.tries} tries of {rules.looks} looks, and at least one target")
    targets = _targets(evidence.targets, rules.alpha / (rules.tries * rules.looks), seed)
    harm = _harm(evidence, rules, seed)
    verdict, why = _judged(targets, harm, is_last=look == rules.looks)
    return Decision(verdict=verdict, why=why, checks=(*targets, *harm))


def _judged(targets: list[Check], harm: list[Check], *, is_last: bool) -> tuple[Verdict, str]:
    hurt = [check.about for check in harm if check.standing is Standing.FAILS]
    unshown = [check.about for check in harm if check.standing in (Standing.OPEN, Standing.THIN)]
    healed = [check.about for check in targets if check.standing is Standing.HOLDS]
    if hurt:
        return Verdict.REFUSE, f"hurts {', '.join(hurt)}"
    if all(check.standing is Standing.FAILS for check in targets):
        return Verdict.REFUSE, "no better than the control arm"
    if healed and not unshown:
        return Verdict.PROMOTE, f"heals {', '.join(healed)}, and is shown to hurt nothing"
    missing = f"not shown: that it spares {', '.join(unshown)}" if unshown else "not shown: that it heals anything"
    return (Verdict.REFUSE, missing) if is_last else (Verdict.LOOK_AGAIN, missing)


def _targets(targets: Mapping[str, Paired], alpha: float, seed: int) -> list[Check]:
    found = {name: estimate(paired, seed) for name, paired in targets.items()}
    better = holm({name: one.p_above(0.0) for name, one in found.items()}, alpha)
    return [
        Check(
            question="better than the control arm",
            about=name,
            standing=Standing.HOLDS if name in better else _excluded(one.high(alpha) <= 0),
            difference=one.difference,
            low=one.low(alpha),
            high=one.high(alpha),
            margin=0.0,
            pairs=targets[name].pairs,
        )
        for name, one in found.items()
    ]


def _harm(evidence: Evidence, rules: Rules, seed: int) -> list[Check]:
    """Every update is held to its margins anew, on prompts of its own: only looks share alpha here."""
    alpha = rules.alpha / rules.looks
    asked = [(POOLED, evidence.pooled, rules.pooled_margin, rules.pooled_least)]
    asked += [(name, paired, rules.slice_margin, rules.slice_least) for name, paired in evidence.slices.items()]
    asked += [(name, one.paired, one.margin, rules.slice_least) for name, one in evidence.protected.items()]
    return [_spared(name, paired, margin, least, alpha, seed) for name, paired, margin, least in asked]


def _spared(name: str, paired: Paired, margin: float, least: int, alpha: float, seed: int) -> Check:
    found = estimate(paired, seed)
    low, high = found.low(alpha), found.high(alpha)
    if high < -margin:  # shown to be hurt, however few
        standing = Standing.FAILS
    elif paired.pairs < least:
        standing = Standing.THIN
    else:
        standing = Standing.HOLDS if low > -margin else Standing.OPEN
    return Check(
        question="no worse than before",
        about=name,
        standing=standing,
        difference=found.difference,
        low=low,
        high=high,
        margin=margin,
        pairs=paired.pairs,
    )


def _excluded(is_excluded: bool) -> Standing:
    return Standing.FAILS if is_excluded else Standing.OPEN
