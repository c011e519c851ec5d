"""The verdicts that a policy passes, a row an image and stage, as SQL over the view `scores`.

    dropped    a rule is definitely violated; the first in the order of RULES is blamed
    unjudged   no rule is violated, but one lacks its number; again the first is named
    kept       every rule of the stage was asked and is content

How they are computed, and counted without a row an image, is told in `filters.fates`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from filters.fates import (
    CROWDED,
    IMAGE_RULES,
    LAST,
    code_sql,
    crowded_sql,
    drop_code,
    judged_ctes,
    kept_sql,
    rule_sql,
    verdict_sql,
    with_codes,
)
from filters.policy import Policy
from filters.rules import STAGES, Bound, Rule
from flywheel.buckets import double, resolution_sql


def verdicts_sql(policy: Policy, scores: str = "scores", allow_unjudged: Collection[str] = ()) -> str:
    """SQL: one row an (image_id, stage).

    Columns: image_id, stage, verdict, rule, value, threshold, domain, bucket, crop_loss, resolution_px, unjudged_rules.
    `value` and `threshold` are the blamed rule's, NULL unless dropped; a flag's value is 1 and it has no threshold.
    `distribution` gives the rank in the crowded group and the cap. `unjudged_rules` lists every rule of the stage
    that lacks its number, also of dropped images; those in `allow_unjudged` leave no image unjudged.
    """
    rules = policy.active()
    values = "".join(f" WHEN {drop_code(rule)} THEN value_{rule.name}::DOUBLE" for rule in rules)
    limits = "".join(f" WHEN {drop_code(rule)} THEN {_limit(policy, rule)}" for rule in rules if rule.bounds)
    sizes = ", ".join(resolution_sql(sizes) for sizes in policy.trains_at)
    missing = ", ".join(
        f"CASE WHEN lacks & {1 << place} > 0 AND stage >= {rule.enters_at_stage} THEN '{rule.name}' END"
        for place, rule in enumerate(IMAGE_RULES)
        if rule in rules
    )
    code = code_sql("codes_0", "stage")
    return f"""
WITH {judged_ctes([policy], scores)},
entrants AS (SELECT image_id, domain, concept FROM judged WHERE {kept_sql(policy, 0, allow_unjudged)}),
crowded AS ({crowded_sql(policy, "entrants")}),
staged AS (
  SELECT j.*, c.rank, c.cap, unnest({list(STAGES)}) AS stage
  FROM ({with_codes("judged", [policy], allow_unjudged)}) j LEFT JOIN crowded c USING (image_id)
),
decided AS (SELECT *, CASE WHEN stage = {LAST} AND cap IS NOT NULL THEN {CROWDED} ELSE {code} END AS code FROM staged)
SELECT image_id, stage, {verdict_sql("code")} AS verdict, {rule_sql("code")} AS rule,
       CASE code{values} WHEN {CROWDED} THEN rank::DOUBLE END AS value,
       CASE code{limits} WHEN {CROWDED} THEN cap::DOUBLE END AS threshold,
       domain, bucket, crop_loss, ([{sizes}])[stage] AS resolution_px,
       CASE WHEN lacks > 0 THEN list_filter([{missing}]::VARCHAR[], lambda name: name IS NOT NULL)
            ELSE []::VARCHAR[] END AS unjudged_rules
FROM decided"""


def survivors_sql(stage: int | str, verdicts: str = "verdicts") -> str:
    """SQL: the verdict rows of what a stage lets through; `stage` may be the name of a macro's parameter."""
    return f"SELECT * FROM {verdicts} WHERE stage = {stage} AND verdict = 'kept'"


def violations_sql(policy: Policy, stage: int, scores: str = "scores") -> str:
    """SQL: (image_id, rule), every rule that an image violates at a stage, not the first one alone."""
    violated = " UNION ALL ".join(
        f"SELECT image_id, '{rule.name}' AS rule FROM reached WHERE (drops_{rule.name}_0 >> {8 * (stage - 1)}) & 255 > 0"
        for rule in policy.active()
    )
    nothing = "SELECT image_id, NULL::VARCHAR AS rule FROM judged WHERE false"
    return f"WITH {judged_ctes([policy], scores)} {violated or nothing}"


def _limit(policy: Policy, rule: Rule) -> str:
    """The violated limit at the row's `stage`: the lower one if the value lies below it, else the upper."""

    def at(bound: Bound, domain: str | None) -> str:
        return _by_stage(policy.values(rule, bound, domain) or (), rule)

    def violated(domain: str | None) -> str:
        if rule.kind != "range":
            return at(rule.bounds[0], domain)
        low, high = at("min", domain), at("max", domain)
        return f"(CASE WHEN value_{rule.name} < {low} THEN {low} ELSE {high} END)"

    own = "".join(f" WHEN '{domain}' THEN {violated(domain)}" for domain in policy.rules[rule.name].by_domain)
    return f"CASE domain{own} ELSE {violated(None)} END" if own else violated(None)


def _by_stage(values: Sequence[float], rule: Rule) -> str:
    return f"([{', '.join(map(double, values))}])[stage - {rule.enters_at_stage - 1}]"
