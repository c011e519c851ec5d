"""Thresholds for new scores at the yield of the old ones.

When a scorer changes, its old thresholds mean nothing. On images measured at both versions, each new threshold is
set so that it fails as many images as the old one did. SQL counts, `propose` writes the policy.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from filters.buckets import double, framed_sql
from filters.policy import Policy, needed_scorers, parse, to_toml
from filters.policy_model import Bounds, Thresholds
from filters.rules import Bound, Rule
from flywheel.errors import PolicyError

# Below this a quantile says little. Our choice.
MIN_IMAGES = 50
# Digits of a proposed threshold: people read and edit them.
DIGITS = 5


def changed_rules(policy: Policy, versions: Mapping[str, str]) -> tuple[Rule, ...]:
    """The rules whose numbers come from a scorer with another version in `versions`."""
    changed = {
        s for s in needed_scorers(policy) if versions.get(s, policy.calibrated_for[s]) != policy.calibrated_for[s]
    }
    return tuple(rule for rule in policy.active() if rule.bounds and changed.intersection(rule.needs))


def calibration_sql(policy: Policy, versions: Mapping[str, str], old_scores: str, new_scores: str) -> str:
    """SQL: how the old thresholds cut, and where the new numbers cut alike.

    `old_scores` and `new_scores` are views like `scores`, at the versions of the policy and at `versions`.
    One row a (rule, domain, bound, scope): domain '' stands for those without thresholds of their own; scope is
    'own' for the images that the thresholds apply to, 'all' for every image. Lists have one entry a stage:
    `failing` counts, `cut` is the new value that fails as many (NULL where none or all fail). `nearest` and
    `farthest` are the values at which the first and the last image would fail, old and new.
    """
    selects = [
        _cut_sql(policy, rule, bound, domain, scope, old_scores, new_scores)
        for rule in changed_rules(policy, versions)
        for bound in rule.bounds
        for domain in ("", *policy.rules[rule.name].by_domain)
        if policy.values(rule, bound, domain or None) is not None
        for scope in ("own", "all")
    ]
    return " UNION ALL ".join(selects) or (
        "SELECT NULL AS rule, NULL AS domain, NULL AS bound, NULL AS scope, 0 AS images, [] AS failing, [] AS cut, "
        "NULL AS nearest_old, NULL AS nearest_new, NULL AS farthest_old, NULL AS farthest_new, NULL AS scale "
        "WHERE false"
    )


def propose(policy: Policy, rows: Iterable[Mapping[str, Any]], versions: Mapping[str, str]) -> str:
    """The policy as TOML at the new scorer versions; `rows` answer `calibration_sql`.

    Thresholds of a domain with too few images are read off all images. Raises PolicyError where even those are
    too few.
    """
    found = {(row["rule"], row["domain"], row["bound"], row["scope"]): row for row in rows}
    rules = dict(policy.rules)
    for rule in changed_rules(policy, versions):
        old = policy.rules[rule.name]

        def moved(bounds: Bounds, domain: str, rule: Rule = rule) -> dict[Bound, tuple[float, ...]]:
            return {
                bound: _moved(values, bound, _enough(found, rule, domain, bound))
                for bound in rule.bounds
                if (values := bounds.of(bound)) is not None
            }

        by_domain = {domain: Bounds(**moved(bounds, domain)) for domain, bounds in old.by_domain.items()}
        rules[rule.name] = Thresholds(**moved(old, ""), by_domain=by_domain)
    needed = {scorer: versions[scorer] for scorer in policy.calibrated_for if scorer in versions}
    text = to_toml(policy.model_copy(update={"rules": rules, "calibrated_for": {**policy.calibrated_for, **needed}}))
    parse(text, stored=True)
    return text


def _cut_sql(
    policy: Policy, rule: Rule, bound: Bound, domain: str, scope: str, old_scores: str, new_scores: str
) -> str:
    overridden = policy.rules[rule.name].by_domain
    others = ", ".join(f"'{name}'" for name in overridden)
    within = f"o.domain = '{domain}'" if domain else f"o.domain NOT IN ({others})" if others else "true"
    applies = within if scope == "own" else "true"
    values = policy.values(rule, bound, domain or None) or ()
    sign, order = ("<", "ASC") if bound == "min" else (">", "DESC")
    fails = ", ".join(f"count(*) FILTER (old {sign} {double(value)})" for value in values)
    near, far = ("min", "max") if bound == "min" else ("max", "min")
    old, new = (
        f"SELECT image_id, domain, ({rule.expression})::DOUBLE AS value FROM ({framed_sql(scores)})"
        for scores in (old_scores, new_scores)
    )
    return f"""(
SELECT '{rule.name}' AS rule, '{domain}' AS domain, '{bound}' AS bound, '{scope}' AS scope, images, failing,
       list_transform(failing, lambda k: CASE WHEN k > 0 AND k < images THEN sorted[k + 1] END) AS cut,
       nearest_old, nearest_new, farthest_old, farthest_new, scale
FROM (SELECT count(*) AS images, [{fails}] AS failing, list(new ORDER BY new {order}) AS sorted,
             {near}(old) AS nearest_old, {near}(new) AS nearest_new,
             {far}(old) AS farthest_old, {far}(new) AS farthest_new,
             stddev_pop(new) / nullif(stddev_pop(old), 0) AS scale
      FROM (SELECT o.value AS old, n.value AS new FROM ({old}) o JOIN ({new}) n USING (image_id)
            WHERE o.value IS NOT NULL AND n.value IS NOT NULL AND {applies})))"""


def _enough(
    found: Mapping[tuple[str, str, str, str], Mapping[str, Any]], rule: Rule, domain: str, bound: Bound
) -> Mapping[str, Any]:
    candidates = [found.get((rule.name, domain, bound, scope)) for scope in ("own", "all")]
    for row in candidates:
        if row is not None and row["images"] >= MIN_IMAGES:
            return row
    most = max((row["images"] for row in candidates if row is not None), default=0)
    raise PolicyError(
        f"rule {rule.name}: {most} images are measured at both versions, {MIN_IMAGES} are needed: "
        "measure more at the new version first"
    )


def _moved(values: Sequence[float], bound: Bound, row: Mapping[str, Any]) -> tuple[float, ...]:
    return tuple(_significant(value) for value in _cuts(values, row))


def _cuts(values: Sequence[float], row: Mapping[str, Any]) -> Iterator[float]:
    """Where none or all images fail, the distance to the nearest one is kept, in standard deviations."""
    scale = row["scale"] if row["scale"] else 1.0
    for value, failing, cut in zip(values, row["failing"], row["cut"], strict=True):
        if cut is not None:
            yield cut
        elif failing == 0:
            yield row["nearest_new"] + (value - row["nearest_old"]) * scale
        else:
            yield row["farthest_new"] + (value - row["farthest_old"]) * scale


def _significant(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")
