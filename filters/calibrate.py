"""Thresholds for new scores at the yield of the old ones.

When a scorer changes, its old thresholds mean nothing. On images measured at both versions, each new threshold is
put where it fails as many images as the old one did: into the gap between the same two neighbours by rank, at the
same place within it. So numbers that did not change keep their thresholds, and numbers that were only rescaled fail
exactly the same images.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from filters.policy import Policy, needed_scorers, parse, to_toml
from filters.policy_model import Bounds, Thresholds
from filters.rules import Bound, Rule
from flywheel.errors import PolicyError

Values = npt.NDArray[np.float64]

# Below this a quantile says little. Our choice.
MIN_IMAGES = 50
# Digits of a proposed threshold, because people read and edit them; more only where fewer would cross an image.
DIGITS = 5
_ALL_DIGITS = 17  # with so many a double is itself


@dataclass(frozen=True, slots=True)
class Remeasured:
    """One rule's number on the images that have it at both versions: their domains, old and new values."""

    domain: npt.NDArray[np.str_]
    old: Values
    new: Values

    def of(self, chosen: npt.NDArray[np.bool_]) -> Remeasured:
        return Remeasured(self.domain[chosen], self.old[chosen], self.new[chosen])


def changed_scorers(policy: Policy, versions: Mapping[str, str]) -> tuple[str, ...]:
    """The scorers that the policy's rules read and that have another version in `versions`."""
    known = policy.calibrated_for
    return tuple(scorer for scorer in needed_scorers(policy) if versions.get(scorer, known[scorer]) != known[scorer])


def changed_rules(policy: Policy, versions: Mapping[str, str]) -> tuple[Rule, ...]:
    """The rules with thresholds over numbers of a scorer that has changed."""
    changed = set(changed_scorers(policy, versions))
    return tuple(rule for rule in policy.active() if rule.bounds and changed.intersection(rule.needs))


def remeasured_sql(rule: Rule, old_scores: str, new_scores: str) -> str:
    """SQL: domain, old, new of every image that has the rule's number in both views, which are like `scores`."""
    old, new = (
        f"SELECT image_id, domain, ({rule.expression})::DOUBLE AS value FROM {scores}"
        for scores in (old_scores, new_scores)
    )
    return (
        f"SELECT o.domain, o.value AS old, n.value AS new FROM ({old}) o JOIN ({new}) n USING (image_id) "
        "WHERE o.value IS NOT NULL AND n.value IS NOT NULL"
    )


def propose(policy: Policy, found: Mapping[str, Remeasured], versions: Mapping[str, str]) -> str:
    """The policy as TOML at the new scorer versions; `found` holds the numbers of each of `changed_rules`, by name.

    Each bound of a rule is read off the images that it applies to; where those are too few, off all images.
    Raises PolicyError where even all are too few.
    """
    rules = dict(policy.rules)
    for rule in changed_rules(policy, versions):
        old, numbers = policy.rules[rule.name], found[rule.name]
        by_domain = {
            domain: Bounds(**_moved_bounds(policy, rule, domain, own, numbers)) for domain, own in old.by_domain.items()
        }
        rules[rule.name] = Thresholds(**_moved_bounds(policy, rule, None, old, numbers), by_domain=by_domain)
    needed = {scorer: versions[scorer] for scorer in policy.calibrated_for if scorer in versions}
    text = to_toml(policy.model_copy(update={"rules": rules, "calibrated_for": {**policy.calibrated_for, **needed}}))
    parse(text, stored=True)
    return text


def moved(thresholds: Sequence[float], bound: Bound, old: Values, new: Values) -> tuple[float, ...]:
    """Thresholds, one a stage, that fail as many of `new` as `thresholds` fail of `old`; neither is empty.

    Where none or all fail, the distance to the nearest number is kept, in standard deviations. Where numbers are
    equal, they fail together, or none of them does.
    """
    sign = 1.0 if bound == "min" else -1.0  # above a max is below a min of the negated numbers
    before, after = np.sort(sign * old), np.sort(sign * new)
    spread = float(before.std())
    scale = float(after.std()) / spread if spread else 1.0
    cuts = [_cut(sign * threshold, before, after, scale) for threshold in thresholds]
    # Stages whose counts fall onto one group of equal numbers share a gap, but not their places in it.
    return tuple(sign * float(cut) + 0.0 for cut in np.maximum.accumulate(cuts))


def _moved_bounds(
    policy: Policy, rule: Rule, domain: str | None, bounds: Bounds, numbers: Remeasured
) -> dict[Bound, tuple[float, ...]]:
    """The given bounds alone: what a domain inherits stays inherited."""
    found: dict[Bound, tuple[float, ...]] = {}
    for bound in rule.bounds:
        if (values := bounds.of(bound)) is not None:
            applies = numbers.of(_applies(policy, rule, domain, bound, numbers))
            chosen = applies if len(applies.old) >= MIN_IMAGES else numbers
            if len(chosen.old) < MIN_IMAGES:
                raise PolicyError(
                    f"rule {rule.name}: {len(chosen.old)} images are measured at both versions, {MIN_IMAGES} are "
                    "needed: measure more at the new version first"
                )
            found[bound] = moved(values, bound, chosen.old, chosen.new)
    return found


def _applies(
    policy: Policy, rule: Rule, domain: str | None, bound: Bound, numbers: Remeasured
) -> npt.NDArray[np.bool_]:
    """The images that a bound judges: the default also those of domains that override only the other bound."""
    if domain is not None:
        return np.isin(numbers.domain, [domain])
    others = [name for name, own in policy.rules[rule.name].by_domain.items() if own.of(bound) is not None]
    return np.isin(numbers.domain, others, invert=True)


def _cut(threshold: float, old: Values, new: Values, scale: float) -> float:
    """The new place of a minimum. `old` and `new` rise."""
    failing = int(np.searchsorted(old, threshold))
    cut = _possible(new, failing)
    if cut == 0:
        beyond = (threshold - float(old[0])) * scale if failing == 0 else 0.0
        return _readable(float(new[0]) + beyond, -math.inf, float(new[0]))
    if cut == len(new):
        return _readable(float(new[-1]) + (threshold - float(old[-1])) * scale, float(new[-1]), math.inf)
    low, high = float(new[cut - 1]), float(new[cut])
    before, after = float(old[failing - 1]), float(old[failing])
    return _readable(low + (threshold - before) * ((high - low) / (after - before)), low, high)


def _possible(numbers: Values, wanted: int) -> int:
    """The count nearest to `wanted` that a threshold can fail, and not all of them unless all are wanted."""
    if wanted in (0, len(numbers)):
        return wanted
    first, end = (int(np.searchsorted(numbers, numbers[wanted], side)) for side in ("left", "right"))
    return end if first < wanted and end < len(numbers) and end - wanted < wanted - first else first


def _readable(value: float, low: float, high: float) -> float:
    """The value in few digits, above `low` and at most `high`, so that it parts the same images."""
    value = min(max(value, math.nextafter(low, math.inf)), high)
    for digits in range(DIGITS, _ALL_DIGITS):
        rounded = float(f"{value:.{digits}g}")
        if low < rounded <= high:
            return rounded
    return value
