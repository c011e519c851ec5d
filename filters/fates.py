"""Policies compiled to SQL: what becomes of each image at each stage, folded into one integer an image and policy.

How it stays fast: thresholds only tighten, so a rule that drops an image at one stage drops it at all later ones,
and says so by one number: a byte of 1 for each such stage (a *reach*; stage 1 is the lowest byte). Rules are folded
in order; what a rule's reach adds to the greatest reach before it are exactly the stages for which it is to blame.
That many times the rule's code (its place in RULES, the same for every policy), added up, is the image's *fate*: a
byte a stage, with no branch a stage. What an image *lacks*, the numbers nobody measured, is one bit a rule; few
combinations exist, so it is folded after counting.

Several policies are compiled into one query: what they have in common is computed once.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

from filters.policy import Policy
from filters.rules import RULES, STAGES, Rule
from flywheel.buckets import double

LAST = STAGES[-1]
IMAGE_RULES = tuple(rule for rule in RULES.values() if rule.subject == "image")
_BIT = {rule.name: 1 << place for place, rule in enumerate(IMAGE_RULES)}
# Codes of one stage: 0 kept, then the rules that drop, the rules that lack their number, the distribution rule.
_RULES = len(IMAGE_RULES)
_DROPS = {rule.name: place for place, rule in enumerate(IMAGE_RULES, 1)}
_NAMES = (*_DROPS, *_DROPS, "distribution")
CROWDED = 2 * _RULES + 1
_CARRIED = "image_id, domain, concept, bucket, crop_loss, cropped_px, short_side_px"


def judged_ctes(policies: Sequence[Policy], scores: str) -> str:
    """The CTE `judged`: one row an image with what identifies and frames it, `lacks`, the values of the rules, and
    `fate_0`, `fallen_0`, `fate_1` … a policy, before the distribution rule: fallen is the reach of all rules together.
    `scores` is a relation like the view.
    """
    standing = [_standing(policy, at, scores) for at, policy in enumerate(policies)]
    places = "".join(
        f" LEFT JOIN standing_{at} USING (image_id)" for at, policy in enumerate(policies) if _ranks(policy)
    )
    lacks = " | ".join(f"((NOT ({rule.measured_sql}))::BIGINT << {place})" for place, rule in enumerate(IMAGE_RULES))
    drops = "".join(
        f", {_drops(policy, rule, at)} AS {_reach_of(rule, at)}"
        for at, policy in enumerate(policies)
        for rule in policy.active()
    )
    judged = "reached"
    for at, policy in enumerate(policies):
        columns = tuple(_reach_of(rule, at) for rule in policy.active())
        codes = [_DROPS[rule.name] for rule in policy.active()]
        judged = _folded(judged, codes, columns, _Fold(f"fate_{at}", most=f"fallen_{at}", hidden=columns))
    return "".join(
        (
            *standing,
            f"measured AS NOT MATERIALIZED (SELECT {_CARRIED}, {_values(policies)}, {lacks} AS lacks "
            f"FROM {scores}{places}),\n",
            f"reached AS NOT MATERIALIZED (SELECT *{drops} FROM measured),\n",
            f"judged AS (SELECT * FROM {judged})",
        )
    )


def lacked(policy: Policy, allowed: Collection[str] = ()) -> int:
    """The bits of `lacks` that keep an image from being judged at the last stage."""
    return sum(_BIT[rule.name] for rule in policy.active() if rule.name not in allowed)


def with_codes(source: str, policies: Sequence[Policy], allowed: Collection[str] = ()) -> str:
    """SQL: the rows of `source` with `codes_0`, `codes_1` … : a byte a stage with its code, before the distribution rule.

    The fold goes on: what lacks its number is asked after all that drops. Rules in `allowed` may lack theirs.
    """
    for at, policy in enumerate(policies):
        rules = [rule for rule in policy.active() if rule.name not in allowed]
        reaches = [f"CASE WHEN lacks & {_BIT[r.name]} > 0 THEN {reach(r.enters_at_stage)} ELSE 0 END" for r in rules]
        codes = [_RULES + _DROPS[rule.name] for rule in rules]
        source = _folded(source, codes, reaches, _Fold(f"codes_{at}", f"fate_{at}", f"fallen_{at}"))
    return f"SELECT * FROM {source}"


def code_sql(codes: str, stage: str) -> str:
    """The code of one stage out of those of all."""
    return f"(({codes} >> (8 * ({stage} - 1))) & 255)"


def kept_sql(policy: Policy, at: int, allowed: Collection[str] = ()) -> str:
    """Whether all rules but the distribution rule let an image of `judged` through the last stage."""
    return f"(fate_{at} >> {8 * (LAST - 1)} = 0 AND lacks & {lacked(policy, allowed)} = 0)"


def verdict_sql(code: str) -> str:
    unjudged = f"{code} BETWEEN {_RULES + 1} AND {2 * _RULES}"
    return f"CASE WHEN {code} = 0 THEN 'kept' WHEN {unjudged} THEN 'unjudged' ELSE 'dropped' END"


def rule_sql(code: str) -> str:
    """The blamed rule's name, NULL for what is kept."""
    return f"([{', '.join(map(repr, _NAMES))}])[{code}]"


def drop_code(rule: Rule) -> int:
    return _DROPS[rule.name]


def verdict_of(code: int) -> tuple[str, str | None]:
    """What a code says: the verdict and the blamed rule."""
    if code == 0:
        return "kept", None
    return ("unjudged" if _RULES < code <= 2 * _RULES else "dropped"), _NAMES[code - 1]


def crowded_sql(policy: Policy, entrants: str) -> str:
    """SELECT of image_id, rank and cap: what the distribution rule cuts of `entrants` (image_id, domain, concept).

    No kind may hold more than so many times the mean of its kind, *after* the cut: domains first, then concepts
    among what is left. Which images stay is decided by image_id: it is a hash already, so the order is arbitrary but
    always the same. Images without a concept are balanced by domain alone.
    """
    if not policy.active("set"):
        return "SELECT NULL::VARCHAR AS image_id, 0::BIGINT AS rank, 0::BIGINT AS cap WHERE false"
    (rule,) = policy.active("set")
    times = double(policy.at(rule, "max", LAST) or 1.0)
    by_domain = _overfull("domain", times, entrants)
    rest = f"(SELECT * FROM {entrants} ANTI JOIN by_domain USING (image_id))"
    return (
        f"WITH by_domain AS MATERIALIZED ({by_domain}), by_concept AS ({_overfull('concept', times, rest)}) "
        "FROM by_domain UNION ALL FROM by_concept"
    )


def _overfull(key: str, times: str, entrants: str) -> str:
    """What is above the cap c = times x mean(min(images, c)): with the k largest kinds cut, that is
    c = times x rest / (kinds - times x k), and k is the least for which no other kind is larger."""
    return f"""
SELECT image_id, rank, cap FROM (
  SELECT image_id, {key}, row_number() OVER (PARTITION BY {key} ORDER BY image_id) AS rank
  FROM {entrants} WHERE {key} IS NOT NULL
) CROSS JOIN (
  SELECT floor(arg_min(cap, k))::BIGINT AS cap FROM (
    SELECT k, {times} * (total - top) / nullif(kinds - {times} * k, 0) AS cap, following FROM (
      SELECT k, coalesce(sum(images) OVER (ORDER BY k ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS top,
             images AS following, sum(images) OVER () AS total, (count(*) OVER ())::DOUBLE AS kinds
      FROM (SELECT count(*) AS images, row_number() OVER (ORDER BY count(*) DESC, {key}) - 1 AS k
            FROM {entrants} WHERE {key} IS NOT NULL GROUP BY {key})))
  WHERE cap >= following
) WHERE rank > cap"""


def reach(stage: int) -> int:
    """A byte of 1 for `stage` and every later one."""
    return sum(1 << 8 * (later - 1) for later in STAGES if later >= stage)


def _ranks(policy: Policy) -> bool:
    return any(rule.kind == "standing" for rule in policy.active())


def _standing(policy: Policy, at: int, scores: str) -> str:
    """Of each duplicate group one image stands for the others: the one that the other rules let furthest, then the
    one with most pixels and bytes. So no good copy goes for the sake of a bad one."""
    if not _ranks(policy):
        return ""
    others = [rule for rule in policy.active() if rule.kind != "standing"]
    fallen = ", ".join(["0", *(_drops(policy, rule, at) for rule in others)])
    values = "".join(f", {_read(rule)} AS {_value(rule, at)}" for rule in others)
    return f"""standing_{at} AS (
  SELECT image_id, row_number() OVER (
           PARTITION BY representative_id
           ORDER BY greatest({fallen}), width_px::BIGINT * height_px DESC, bytes DESC, image_id) AS place_{at}
  FROM (SELECT image_id, representative_id, domain, width_px, height_px, bytes{values}
        FROM {scores} WHERE representative_id IS NOT NULL)
),
"""


def _values(policies: Sequence[Policy]) -> str:
    """Each rule's number once, whichever policies ask for it; `value_<rule>` of the first policy for people's eyes."""
    read = [f"{_read(rule)} AS {_value(rule, 0)}" for rule in IMAGE_RULES if rule.kind != "standing"]
    for at, policy in enumerate(policies):
        place = f"place_{at} > 1" if _ranks(policy) else "false"
        read += [f"({place})::BOOLEAN AS {_value(rule, at)}" for rule in IMAGE_RULES if rule.kind == "standing"]
    return ", ".join(read)


def _value(rule: Rule, at: int) -> str:
    """Only the place in a duplicate group depends on the policy."""
    return f"value_{rule.name}" + (f"_{at}" if rule.kind == "standing" and at else "")


def _reach_of(rule: Rule, at: int) -> str:
    return f"drops_{rule.name}_{at}"


@dataclass(frozen=True, slots=True)
class _Fold:
    """What a fold adds (`name`, and the last maximum as `most` where wanted) to what an earlier one left."""

    name: str
    total: str = "0::BIGINT"
    greatest: str = "0::BIGINT"
    most: str | None = None
    hidden: tuple[str, ...] = ()


def _folded(source: str, codes: Sequence[int], reaches: Sequence[str], fold: _Fold) -> str:
    """Adds the sum of each code times what its reach adds to the greatest before it.

    With codes c1 < c2 < .. < cn it telescopes: cn times the last maximum, less each step of the codes times the
    maximum before it.
    """
    most = [fold.greatest, *(f"most_{place}" for place in range(len(reaches)))]
    maxima = "".join(f", greatest({most[at]}, {one}) AS {most[at + 1]}" for at, one in enumerate(reaches))
    steps = [code - before for before, code in pairwise([0, *codes])]
    taken = "".join(f" - {step} * {maximum}" for step, maximum in zip(steps, most, strict=False))
    last = codes[-1] if codes else 0
    hidden = ", ".join([*fold.hidden, *most[1:]])
    kept = f"* EXCLUDE ({hidden})" if hidden else "*"
    extra = f", {most[-1]} AS {fold.most}" if fold.most else ""
    total = f"({fold.total} + {last} * {most[-1]}{taken})::BIGINT AS {fold.name}"
    return f"(SELECT {kept}, {total}{extra} FROM (SELECT *{maxima} FROM {source}))"


def _read(rule: Rule) -> str:
    return f"({rule.expression})::{'BOOLEAN' if rule.kind == 'flag' else 'DOUBLE'}"


def _drops(policy: Policy, rule: Rule, at: int) -> str:
    """The reach of the first stage at which the rule drops the image, 0 when it does not or has no number."""
    overrides = policy.rules[rule.name].by_domain
    own = "".join(f" WHEN '{domain}' THEN {_staircase(policy, rule, domain, at)}" for domain in overrides)
    default = _staircase(policy, rule, None, at)
    return f"(CASE domain{own} ELSE {default} END)" if own else default


def _staircase(policy: Policy, rule: Rule, domain: str | None, at: int) -> str:
    """What satisfies the last stage leaves first; then a branch a distinct threshold, the loosest first."""
    value = _value(rule, at)
    if not rule.bounds:
        return f"(CASE WHEN {value} THEN {reach(rule.enters_at_stage)} ELSE 0 END)"
    limits = [(policy.at(rule, "min", stage, domain), policy.at(rule, "max", stage, domain)) for stage in rule.stages]
    low, high = limits[-1]
    inside = [f"{value} >= {double(low)}"] if low is not None else []
    inside += [f"{value} <= {double(high)}"] if high is not None else []
    steps = "".join(f" WHEN {test} THEN {reach(stage)}" for stage, test in _steps(rule, value, limits))
    return f"(CASE WHEN {' AND '.join(inside)} THEN 0{steps} ELSE 0 END)"


def _steps(rule: Rule, value: str, limits: Sequence[tuple[float | None, float | None]]) -> Iterator[tuple[int, str]]:
    for (low, high), group in groupby(zip(limits, rule.stages, strict=True), key=lambda pair: pair[0]):
        tests = [f"{value} < {double(low)}"] if low is not None else []
        tests += [f"{value} > {double(high)}"] if high is not None else []
        yield next(group)[1], " OR ".join(tests)
