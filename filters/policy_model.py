"""The shape of a policy and what makes it hold together. People meet it through `filters.policy`."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from filters.rules import DOMAINS, RULES, STAGES, Bound, Rule, Subject
from flywheel.seeds import stable_hash

Values = tuple[Annotated[float, Field(allow_inf_nan=False)], ...]


class Bounds(BaseModel):
    """The limits of a rule, one value a stage."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    min: Values | None = None
    max: Values | None = None

    def of(self, bound: Bound) -> Values | None:
        return self.min if bound == "min" else self.max


class Thresholds(Bounds):
    """The limits of a rule, and where domains differ."""

    by_domain: dict[str, Bounds] = Field(default_factory=dict)


class Policy(BaseModel):
    """A validated policy. Made by `filters.policy.parse` and `bundled`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(min_length=1)]
    profile: Annotated[str, Field(min_length=1)]
    trains_at: tuple[tuple[Annotated[int, Field(gt=0)], ...], ...]
    disabled: tuple[str, ...] = ()
    # Whose agreement with the image is judged: of these kinds of captions the first that the image has. `raw` is the
    # caption that came with it.
    caption_kinds: Annotated[tuple[str, ...], Field(min_length=1)] = ("general",)
    calibrated_for: dict[str, str] = Field(default_factory=dict)
    rules: dict[str, Thresholds]

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        _check_names(self)
        for name, thresholds in self.rules.items():
            _check_rule(RULES[name], thresholds)
        for scorer in needed_scorers(self):
            if scorer not in self.calibrated_for:
                raise ValueError(f"calibrated_for names no version of {scorer}, which its rules need")
        _check_sizes(self)
        return self

    @property
    def policy_id(self) -> str:
        """Names what is judged: equal ids give equal verdicts. Rules that do not apply are left out."""
        return stable_hash(canonical(self))

    def active(self, subject: Subject = "image") -> tuple[Rule, ...]:
        """The rules that apply, in order of evaluation."""
        return tuple(
            rule
            for rule in RULES.values()
            if rule.name in self.rules and rule.name not in self.disabled and rule.subject == subject
        )

    def values(self, rule: Rule, bound: Bound, domain: str | None = None) -> Values | None:
        """A limit's values, one a stage from the rule's first; None where the rule has no such limit."""
        thresholds = self.rules[rule.name]
        override = thresholds.by_domain.get(domain) if domain else None
        own = override.of(bound) if override else None
        return thresholds.of(bound) if own is None else own

    def at(self, rule: Rule, bound: Bound, stage: int, domain: str | None = None) -> float | None:
        """One limit at one stage. `stage` is at least the rule's first."""
        values = self.values(rule, bound, domain)
        return None if values is None else values[stage - rule.enters_at_stage]

    def without(self, *names: str) -> Policy:
        """The same policy with some rules switched off."""
        return self.model_copy(update={"disabled": tuple(sorted({*self.disabled, *names}))})


def needed_scorers(policy: Policy) -> tuple[str, ...]:
    """The scorers whose numbers the policy's rules read, in order of the rules."""
    rules = (rule for subject in ("image", "pair", "set") for rule in policy.active(subject))
    return tuple(dict.fromkeys(scorer for rule in rules for scorer in rule.needs))


def canonical(policy: Policy) -> dict[str, Any]:
    """Everything that verdicts depend on, as plain values."""
    applied = [rule.name for subject in ("image", "pair", "set") for rule in policy.active(subject)]
    return {
        "name": policy.name,
        "profile": policy.profile,
        "trains_at": [list(sizes) for sizes in policy.trains_at],
        "calibrated_for": {scorer: policy.calibrated_for[scorer] for scorer in needed_scorers(policy)},
        "caption_kinds": list(policy.caption_kinds),
        "rules": {name: policy.rules[name].model_dump(mode="json", exclude_none=True) for name in applied},
    }


def _check_names(policy: Policy) -> None:
    scorers = {scorer for rule in RULES.values() for scorer in rule.needs}
    overridden = [domain for thresholds in policy.rules.values() for domain in thresholds.by_domain]
    _known("rule", [*policy.rules, *policy.disabled], RULES)
    _known("score", policy.calibrated_for, scorers)
    _known("domain", overridden, DOMAINS)


def _known(what: str, names: Iterable[str], known: Iterable[str]) -> None:
    choices = list(known)
    for name in names:
        if name not in choices:
            raise ValueError(f"unknown {what} {name!r}; there are {', '.join(sorted(choices))}")


def _check_rule(rule: Rule, thresholds: Thresholds) -> None:
    if thresholds.by_domain and (rule.subject != "image" or not rule.bounds):
        raise ValueError(f"{rule.name} cannot differ by domain")
    _check_bounds(rule, rule.name, thresholds, required=True)
    for domain, bounds in thresholds.by_domain.items():
        where = f"{rule.name} for {domain}"
        if bounds.min is None and bounds.max is None:
            raise ValueError(f"{where} gives no threshold")
        _check_bounds(rule, where, bounds, required=False)
        merged = Bounds(min=bounds.min or thresholds.min, max=bounds.max or thresholds.max)
        _check_order(rule, where, merged)
    _check_order(rule, rule.name, thresholds)


def _check_bounds(rule: Rule, where: str, bounds: Bounds, *, required: bool) -> None:
    for bound, values in (("min", bounds.min), ("max", bounds.max)):
        if values is None:
            if required and bound in rule.bounds:
                raise ValueError(f"{where} needs {bound}")
            continue
        if bound not in rule.bounds:
            raise ValueError(f"{where} takes no {bound}")
        if len(values) != len(rule.stages):
            span = f"stages {rule.enters_at_stage} to {STAGES[-1]}" if len(rule.stages) > 1 else "stage 6 alone"
            raise ValueError(f"{where}: {bound} needs {len(rule.stages)} values ({span}), not {len(values)}")
        for stage, (before, after) in enumerate(pairwise(values), rule.enters_at_stage + 1):
            if after < before if bound == "min" else after > before:
                raise ValueError(f"{where}: {bound} loosens from {before:g} to {after:g} at stage {stage}")
        if rule.kind == "balance" and values[0] < 1:
            raise ValueError(f"{where}: {bound} counts means and is at least 1, not {values[0]:g}")


def _check_order(rule: Rule, where: str, bounds: Bounds) -> None:
    for stage, low, high in zip(rule.stages, bounds.min or (), bounds.max or (), strict=False):
        if low > high:
            raise ValueError(f"{where}: min {low:g} is above max {high:g} at stage {stage}")


def _check_sizes(policy: Policy) -> None:
    if len(policy.trains_at) != len(STAGES):
        raise ValueError(f"trains_at needs {len(STAGES)} lists of sizes, one a stage, not {len(policy.trains_at)}")
    for stage, sizes in zip(STAGES, policy.trains_at, strict=True):
        if not sizes or list(sizes) != sorted(set(sizes)):
            raise ValueError(f"trains_at, stage {stage}: sizes must be given in rising order")
    for rule in (rule for rule in policy.active() if rule.name == "short_side"):
        for stage in STAGES:
            for domain in (None, *policy.rules[rule.name].by_domain):
                least = policy.at(rule, "min", stage, domain)
                if least is not None and least < policy.trains_at[stage - 1][0]:
                    raise ValueError(f"stage {stage} keeps a short side of {least:g} px but trains at no size so small")
