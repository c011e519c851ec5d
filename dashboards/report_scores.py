"""Every score's distribution, and the thresholds that a policy draws through it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import pyarrow as pa

from filters.policy import Policy
from filters.rules import DOMAINS, Bound, Rule
from filters.scorers import SCORERS
from flywheel.buckets import double
from flywheel.workspace import Workspace

BINS = 40  # our choice
TAIL = 0.005  # our choice: this share at either end does not stretch the axis; it is counted in the last bins


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """One limit, and the stages that share it."""

    bound: Bound
    value: float
    stages: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The thresholds of some domains that agree; no domain: of all that have none of their own."""

    domains: tuple[str, ...]
    thresholds: tuple[Threshold, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """One numeric column of the scores. `counts` are equal bins from `low` to `high`, tails in the outer ones.

    images = measured + abstained + missing: the scorer gave a number, found no sign, or has not run.
    """

    column: str
    scorer: str | None
    rule: str | None
    says: str
    limits: tuple[Limits, ...]
    low: float
    high: float
    counts: tuple[int, ...]
    measured: int
    abstained: int
    missing: int
    median: float | None


@dataclass(frozen=True, slots=True)
class _Axis:
    low: float
    high: float
    bins: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Column:
    name: str
    scorer: str | None
    rule: Rule | None
    whole: bool


def distributions(workspace: Workspace, policy: Policy, views: Mapping[str, str]) -> tuple[Distribution, ...]:
    """Judged columns in the order of their rules, then all others in the order of their scorers."""
    schema = workspace.query("SELECT * FROM scores LIMIT 0", views).schema
    columns = _columns(schema, policy)
    (told,) = workspace.query(f"SELECT {', '.join(_statistics(columns))} FROM scores", views).to_pylist()
    axes = {column.name: _axis(column, told, policy) for column in columns}
    (bins,) = workspace.query(
        f"SELECT {', '.join(_histogram(column, axes[column.name]) for column in columns)} FROM scores", views
    ).to_pylist()
    return tuple(_distribution(column, told, axes[column.name], bins[column.name], policy) for column in columns)


def limits_of(policy: Policy, rule: Rule) -> tuple[Limits, ...]:
    """The default first, then each group of domains that differs from it alike."""
    default = _thresholds(policy, rule, None)
    groups: dict[tuple[Threshold, ...], list[str]] = {}
    for domain in DOMAINS:
        own = _thresholds(policy, rule, domain)
        if own != default:
            groups.setdefault(own, []).append(domain)
    return (
        Limits(domains=(), thresholds=default),
        *(Limits(domains=tuple(domains), thresholds=own) for own, domains in groups.items()),
    )


def _thresholds(policy: Policy, rule: Rule, domain: str | None) -> tuple[Threshold, ...]:
    found = []
    for bound in rule.bounds:
        values = policy.values(rule, bound, domain) or ()
        for value, group in groupby(zip(values, rule.stages, strict=True), key=lambda pair: pair[0]):
            found.append(Threshold(bound=bound, value=value, stages=tuple(stage for _, stage in group)))
    return tuple(found)


def _columns(schema: pa.Schema, policy: Policy) -> list[_Column]:
    """Numbers only; 64-bit integers of scorers are hashes, which have no distribution worth a look."""
    owner = {column: name for name, scorer in SCORERS.items() for column in scorer.columns}
    judged = {rule.expression: rule for rule in policy.active("image") if rule.bounds}
    numeric = [field for field in schema if pa.types.is_floating(field.type) or pa.types.is_integer(field.type)]
    kinds = {field.name: field.type for field in numeric}
    scored = [name for name, kind in kinds.items() if name in owner and not pa.types.is_int64(kind)]
    names = [name for name in judged if name in kinds] + [name for name in scored if name not in judged]
    return [
        _Column(name=name, scorer=owner.get(name), rule=judged.get(name), whole=pa.types.is_integer(kinds[name]))
        for name in names
    ]


def _statistics(columns: Iterable[_Column]) -> list[str]:
    asked = ["count(*) AS images"]
    for column in columns:
        name = f'"{column.name}"'
        ran = f"{column.scorer}_version" if column.scorer else name
        asked += [
            f'count({name}) AS "{column.name}.measured"',
            f'count({ran}) AS "{column.name}.ran"',
            f'quantile_cont({name}::DOUBLE, [{TAIL}, 0.5, {1 - TAIL}]) AS "{column.name}.quantiles"',
        ]
    return asked


def _axis(column: _Column, told: Mapping[str, Any], policy: Policy) -> _Axis:
    """From tail to tail, and on to thresholds that are not too far away to leave the bars any room.

    Whole numbers get bins of whole width, so that none looks rarer than its neighbours.
    """
    quantiles = told[f"{column.name}.quantiles"]
    if not quantiles:
        return _Axis(0.0, 1.0, BINS)
    low, _, high = quantiles
    span = high - low
    near = [
        threshold.value
        for limits in (limits_of(policy, column.rule) if column.rule else ())
        for threshold in limits.thresholds
        if low - span <= threshold.value <= high + span
    ]
    low, high = min([low, *near]), max([high, *near])
    if column.whole:
        low = math.floor(low) - 0.5
        width = max(1, math.ceil((high - low) / BINS))
        bins = max(1, math.ceil((high - low) / width))
        return _Axis(low, low + width * bins, bins)
    margin = 0.02 * (high - low) or 0.5 * abs(high) or 0.5
    floor = 0.0 if quantiles[0] >= 0 else -math.inf  # what is never negative gets no axis below zero
    return _Axis(max(low - margin, floor), high + margin, BINS)


def _histogram(column: _Column, axis: _Axis) -> str:
    place = f'floor(("{column.name}"::DOUBLE - {double(axis.low)}) / {double((axis.high - axis.low) / axis.bins)})'
    return (
        f"histogram(least(greatest({place}, 0), {axis.bins - 1})::INTEGER) "
        f'FILTER ("{column.name}" IS NOT NULL) AS "{column.name}"'
    )


def _distribution(
    column: _Column,
    told: Mapping[str, Any],
    axis: _Axis,
    bins: Sequence[tuple[int, int]] | None,
    policy: Policy,
) -> Distribution:
    found = dict(bins or ())
    measured, ran = told[f"{column.name}.measured"], told[f"{column.name}.ran"]
    quantiles = told[f"{column.name}.quantiles"]
    scorer_says = SCORERS[column.scorer].table.says if column.scorer else ""
    return Distribution(
        column=column.name,
        scorer=column.scorer,
        rule=column.rule.name if column.rule else None,
        says=column.rule.says if column.rule else scorer_says,
        limits=limits_of(policy, column.rule) if column.rule else (),
        low=axis.low,
        high=axis.high,
        counts=tuple(found.get(place, 0) for place in range(axis.bins)),
        measured=measured,
        abstained=ran - measured,
        missing=told["images"] - ran,
        median=quantiles[1] if quantiles else None,
    )
