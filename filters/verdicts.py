"""A policy compiled to SQL: what becomes of each image at each stage, and which rule decided.

    dropped    a rule is definitely violated; the first in the order of RULES is blamed
    unjudged   no rule is violated, but one lacks its number; again the first is named
    kept       every rule of the stage was asked and is content

How it stays fast: thresholds only tighten, so a rule that drops an image at one stage drops it at all later ones,
and says so by one number: a byte of 1 for each such stage (a *reach*; stage 1 is the lowest byte). Rules are folded
in order; what a rule's reach adds to the greatest reach before it are exactly the stages for which it is to blame.
That many times the rule's code, added up, is the image's *fate*: a byte a stage, all verdicts in one integer, with
no branch a stage. Lacking a number is a rule like any other, asked after all those that drop.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from filters.buckets import double, framed_sql, resolution_sql
from filters.policy import Policy
from filters.rules import STAGES, Bound, Rule

LAST = STAGES[-1]


def verdicts_sql(policy: Policy, scores: str = "scores") -> str:
    """SQL: one row an (image_id, stage).

    Columns: image_id, stage, verdict, rule, value, threshold, domain, bucket, crop_loss, resolution_px, unjudged_rules.
    `value` and `threshold` are the blamed rule's, NULL unless dropped; a flag's value is 1 and it has no threshold.
    `distribution` gives the rank in the crowded group and the cap. `unjudged_rules` lists every rule of the stage
    that lacks its number, also of dropped images.
    """
    rules, crowded = policy.active("image"), crowded_code(policy)
    values = "".join(f" WHEN {i} THEN value_{rule.name}::DOUBLE" for i, rule in enumerate(rules, 1))
    limits = "".join(f" WHEN {i} THEN {_limit(policy, rule)}" for i, rule in enumerate(rules, 1) if rule.bounds)
    sizes = ", ".join(resolution_sql(sizes) for sizes in policy.trains_at)
    missing = ", ".join(
        f"CASE WHEN lacks_{rule.name} AND stage >= {rule.enters_at_stage} THEN '{rule.name}' END" for rule in rules
    )
    anything = " OR ".join(f"lacks_{rule.name}" for rule in rules) or "false"
    return f"""
WITH {judged_ctes(policy, scores)},
staged AS (
  SELECT j.*, c.rank, c.cap, unnest({list(STAGES)}) AS stage FROM judged j LEFT JOIN crowded c USING (image_id)
),
decided AS (
  SELECT *, CASE WHEN stage = {LAST} AND cap IS NOT NULL THEN {crowded} ELSE {code_sql("fate", "stage")} END AS code
  FROM staged
)
SELECT image_id, stage, {verdict_sql(policy, "code")} AS verdict, {rule_sql(policy, "code")} AS rule,
       CASE code{values} WHEN {crowded} THEN rank::DOUBLE END AS value,
       CASE code{limits} WHEN {crowded} THEN cap::DOUBLE END AS threshold,
       domain, bucket, crop_loss, ([{sizes}])[stage] AS resolution_px,
       CASE WHEN {anything} THEN list_filter([{missing}]::VARCHAR[], lambda name: name IS NOT NULL)
            ELSE []::VARCHAR[] END AS unjudged_rules
FROM decided"""


def survivors_sql(stage: int | str, verdicts: str = "verdicts", allow_unjudged: Sequence[str] = ()) -> str:
    """SQL: the verdict rows of what a stage lets through; `stage` may be the name of a macro's parameter.

    An image that lacks nothing but rules named in `allow_unjudged` passes too.
    """
    allowed = ", ".join(f"'{name}'" for name in sorted(allow_unjudged))
    also = f" OR (verdict = 'unjudged' AND list_has_all([{allowed}], unjudged_rules))" if allowed else ""
    return f"SELECT * FROM {verdicts} WHERE stage = {stage} AND (verdict = 'kept'{also})"


def judged_ctes(policy: Policy, scores: str) -> str:
    """The CTEs that verdicts and funnel share.

    `judged`: one row an image with its fate, before the distribution rule. `crowded`: image_id, domain, bucket, rank
    and cap of what that rule drops at stage 6.
    """
    rules = policy.active("image")
    read = "".join(f", {_read(rule)} AS value_{rule.name}" for rule in rules)
    lacks = "".join(f", NOT ({rule.measured_sql}) AS lacks_{rule.name}" for rule in rules)
    reaches = [f"{_drops(policy, rule)} AS drops_{rule.name}" for rule in rules]
    reaches += [f"{_waits(rule)} AS waits_{rule.name}" for rule in rules]
    columns = [f"drops_{rule.name}" for rule in rules] + [f"waits_{rule.name}" for rule in rules]
    return f"""measured AS (
  SELECT image_id, domain, concept, bucket, crop_loss, cropped_px, short_side_px{read}{lacks}
  FROM ({framed_sql(scores)})
),
reached AS (SELECT {", ".join(["measured.*", *reaches])} FROM measured),
judged AS MATERIALIZED ({_folded(columns)}),
crowded AS ({_crowded(policy)})"""


def code_sql(fate: str, stage: str) -> str:
    """The code of one stage: 0 kept, else a place in the names behind the codes."""
    return f"(({fate} >> (8 * ({stage} - 1))) & 255)"


def verdict_sql(policy: Policy, code: str) -> str:
    rules = len(policy.active("image"))
    unjudged = f"{code} BETWEEN {rules + 1} AND {2 * rules}"
    return f"CASE WHEN {code} = 0 THEN 'kept' WHEN {unjudged} THEN 'unjudged' ELSE 'dropped' END"


def rule_sql(policy: Policy, code: str) -> str:
    """The blamed rule's name, NULL for what is kept."""
    names = [rule.name for rule in policy.active("image")]
    listed = ", ".join(f"'{name}'" for name in (*names, *names, "distribution"))
    return f"([{listed}])[{code}]"


def crowded_code(policy: Policy) -> int:
    """The code of the distribution rule, behind those of dropped and unjudged."""
    return 2 * len(policy.active("image")) + 1


def _reach(stage: int) -> int:
    """A byte of 1 for `stage` and every later one."""
    return sum(1 << 8 * (later - 1) for later in STAGES if later >= stage)


def _folded(reaches: Sequence[str]) -> str:
    """Adds fate: the sum of code times what each reach adds to the greatest before it.

    With codes 1, 2, .. n it telescopes to n times the last of those maxima less all earlier ones.
    """
    if not reaches:
        return "SELECT *, 0::BIGINT AS fate FROM reached"
    maxima = [f"{reaches[0]} AS most_0"]
    maxima += [f"greatest(most_{i - 1}, {reach}) AS most_{i}" for i, reach in enumerate(reaches[1:], 1)]
    last = len(reaches) - 1
    total = f"{len(reaches)} * most_{last}" + "".join(f" - most_{i}" for i in range(last))
    names = ", ".join([*dict.fromkeys(reaches), *(f"most_{i}" for i in range(len(reaches)))])
    return f"SELECT * EXCLUDE ({names}), {total} AS fate FROM (SELECT *, {', '.join(maxima)} FROM reached)"


def _crowded(policy: Policy) -> str:
    """Among what all other rules keep at stage 6, crowded domains and concepts are cut to their cap.

    Which images stay is decided by image_id: it is a hash already, so the order is arbitrary but always the same.
    Images without a concept are balanced by domain alone.
    """
    if not policy.active("set"):
        return "SELECT image_id, domain, bucket, 0::BIGINT AS rank, 0::BIGINT AS cap FROM judged WHERE false"
    (rule,) = policy.active("set")
    times = double(policy.at(rule, "max", LAST) or 1.0)
    entrants = f"SELECT image_id, domain, concept, bucket FROM judged WHERE {code_sql('fate', str(LAST))} = 0"
    overfull = " UNION ALL ".join(
        f"""SELECT image_id, domain, bucket, rank, cap, {priority} AS priority FROM (
  SELECT e.*, c.cap, row_number() OVER (PARTITION BY e.{key} ORDER BY e.image_id) AS rank
  FROM entrants e JOIN (
    SELECT {key}, count(*) AS images, floor({times} * avg(count(*)) OVER ())::BIGINT AS cap
    FROM entrants WHERE {key} IS NOT NULL GROUP BY {key}
  ) c ON e.{key} = c.{key} WHERE c.images > c.cap
) WHERE rank > cap"""
        for priority, key in enumerate(("domain", "concept"))
    )
    return f"""
  WITH entrants AS ({entrants})
  SELECT image_id, any_value(domain) AS domain, any_value(bucket) AS bucket,
         arg_min(rank, priority) AS rank, arg_min(cap, priority) AS cap
  FROM ({overfull}) GROUP BY image_id"""


def _read(rule: Rule) -> str:
    return f"({rule.expression})::{'BOOLEAN' if rule.kind == 'flag' else 'DOUBLE'}"


def _waits(rule: Rule) -> str:
    return f"(CASE WHEN lacks_{rule.name} THEN {_reach(rule.enters_at_stage)} ELSE 0 END)"


def _drops(policy: Policy, rule: Rule) -> str:
    """The reach of the first stage at which the rule drops the image, 0 when it does not or has no number."""
    overrides = policy.rules[rule.name].by_domain
    own = "".join(f" WHEN '{domain}' THEN {_staircase(policy, rule, domain)}" for domain in overrides)
    default = _staircase(policy, rule, None)
    return f"(CASE domain{own} ELSE {default} END)" if own else default


def _staircase(policy: Policy, rule: Rule, domain: str | None) -> str:
    """What satisfies the last stage leaves first; then a branch a distinct threshold, the loosest first."""
    value = f"value_{rule.name}"
    if rule.kind == "flag":
        return f"(CASE WHEN {value} THEN {_reach(rule.enters_at_stage)} ELSE 0 END)"
    limits = [(policy.at(rule, "min", stage, domain), policy.at(rule, "max", stage, domain)) for stage in rule.stages]
    low, high = limits[-1]
    inside = [f"{value} >= {double(low)}"] if low is not None else []
    inside += [f"{value} <= {double(high)}"] if high is not None else []
    steps = "".join(f" WHEN {test} THEN {_reach(stage)}" for stage, test in _steps(rule, value, limits))
    return f"(CASE WHEN {' AND '.join(inside)} THEN 0{steps} ELSE 0 END)"


def _steps(rule: Rule, value: str, limits: Sequence[tuple[float | None, float | None]]) -> Iterator[tuple[int, str]]:
    for (low, high), group in groupby(zip(limits, rule.stages, strict=True), key=lambda pair: pair[0]):
        tests = [f"{value} < {double(low)}"] if low is not None else []
        tests += [f"{value} > {double(high)}"] if high is not None else []
        yield next(group)[1], " OR ".join(tests)


def _limit(policy: Policy, rule: Rule) -> str:
    """The violated limit at the row's `stage`: the lower one if the value lies below it, else the upper."""

    def at(bound: Bound, domain: str | None) -> str:
        listed = ", ".join(double(value) for value in policy.values(rule, bound, domain) or ())
        return f"([{listed}])[stage - {rule.enters_at_stage - 1}]"

    def violated(domain: str | None) -> str:
        if rule.kind != "range":
            return at(rule.bounds[0], domain)
        low, high = at("min", domain), at("max", domain)
        return f"(CASE WHEN value_{rule.name} < {low} THEN {low} ELSE {high} END)"

    own = "".join(f" WHEN '{domain}' THEN {violated(domain)}" for domain in policy.rules[rule.name].by_domain)
    return f"CASE domain{own} ELSE {violated(None)} END" if own else violated(None)


def violations_sql(policy: Policy, stage: int, scores: str = "scores") -> str:
    """SQL: (image_id, rule), every rule that an image violates at a stage, not the first one alone."""
    violated = " UNION ALL ".join(
        f"SELECT image_id, '{rule.name}' AS rule FROM reached WHERE {code_sql(f'drops_{rule.name}', str(stage))} > 0"
        for rule in policy.active("image")
    )
    nothing = "SELECT image_id, NULL::VARCHAR AS rule FROM judged WHERE false"
    return f"WITH {judged_ctes(policy, scores)} {violated or nothing}"
