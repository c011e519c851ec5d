"""The funnel: how many images each stage keeps, drops and cannot judge, and what a change of policy would do.

`counts_sql` counts cells in one pass, for one policy or two, `assemble` folds them into a `Funnel` and checks that
every image is accounted for at every stage: in = kept + dropped + unjudged.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from filters.fates import (
    CROWDED,
    LAST,
    code_sql,
    crowded_sql,
    judged_ctes,
    kept_sql,
    rule_sql,
    verdict_of,
    verdict_sql,
    with_codes,
)
from filters.policy import Policy
from filters.rules import RULES, STAGES
from filters.verdicts import verdicts_sql
from flywheel.errors import ConservationError


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """What became of some images at one stage. The rules are in their order of evaluation."""

    kept: int = 0
    dropped: Mapping[str, int] = field(default_factory=dict)
    unjudged: Mapping[str, int] = field(default_factory=dict)

    @property
    def dropped_total(self) -> int:
        return sum(self.dropped.values())

    @property
    def unjudged_total(self) -> int:
        return sum(self.unjudged.values())

    @property
    def images(self) -> int:
        return self.kept + self.dropped_total + self.unjudged_total


@dataclass(frozen=True, slots=True, kw_only=True)
class StageCount:
    """One stage of the funnel. Rules add up over stages: `dropped` counts what any rule so far refuses."""

    stage: int
    images: int
    total: Tally
    by_domain: Mapping[str, Tally]
    by_bucket: Mapping[str, Tally]


@dataclass(frozen=True, slots=True, kw_only=True)
class Funnel:
    """All six stages under one policy."""

    policy_id: str
    policy_name: str
    images: int
    stages: tuple[StageCount, ...]

    def stage(self, number: int) -> StageCount:
        return self.stages[number - 1]


@dataclass(frozen=True, slots=True, kw_only=True)
class StageChange:
    """New counts less old ones; rules whose count stays are left out."""

    stage: int
    kept: int
    dropped: Mapping[str, int]
    unjudged: Mapping[str, int]

    @property
    def nothing(self) -> bool:
        return not (self.kept or self.dropped or self.unjudged)


def counts_sql(policies: Sequence[Policy], scores: str = "scores") -> str:
    """SQL for `counted`: side, stage, domain, bucket, code, images; `side` is the policy's place in `policies`.

    With two policies one more row, of side NULL, counts the images whose verdict or blame differs at any stage.
    """
    sides = " UNION ALL ".join(
        f"SELECT {at} AS side, stage, domain, bucket, {code_sql(f'codes_{at}', 'stage')}::INTEGER AS code, images "
        f"FROM groups, unnest({list(STAGES)}) AS t(stage)"
        for at in range(len(policies))
    )
    flipped = (
        "UNION ALL SELECT NULL, NULL, NULL, NULL, NULL, coalesce(sum(images), 0)::BIGINT FROM groups "
        "WHERE codes_0 <> codes_1"
    )
    return f"""
WITH {_groups_ctes(policies, scores)}
SELECT side, stage, domain, bucket, code, sum(images)::BIGINT AS images FROM ({sides})
GROUP BY ALL HAVING sum(images) <> 0
{flipped if len(policies) == 2 else ""}"""


def funnel_sql(policy: Policy, scores: str = "scores") -> str:
    """SQL of the view `funnel`: stage, domain, bucket, verdict, rule, images; cells without images are left out."""
    return f"""
SELECT stage, domain, bucket, {verdict_sql("code")} AS verdict, {rule_sql("code")} AS rule, images
FROM ({counts_sql([policy], scores)}) ORDER BY ALL"""


def flips_sql(old: Policy, new: Policy, scores: str = "scores") -> str:
    """SQL: image_id, stage, old_verdict, old_rule, new_verdict, new_rule, where the verdict or the blame differs."""
    before, after = verdicts_sql(old, scores), verdicts_sql(new, scores)
    return f"""
SELECT image_id, stage, o.verdict AS old_verdict, o.rule AS old_rule, n.verdict AS new_verdict, n.rule AS new_rule
FROM ({before}) o JOIN ({after}) n USING (image_id, stage)
WHERE o.verdict <> n.verdict OR o.rule IS DISTINCT FROM n.rule ORDER BY stage, image_id"""


def _groups_ctes(policies: Sequence[Policy], scores: str) -> str:
    """`groups`: images of one domain, bucket and fate counted together, with the codes of all six stages a policy.

    A few thousand groups, not six rows an image. Those that any policy keeps to the end are also listed by id, for
    the distribution rule; what it cuts moves from its group into one of its own.
    """
    sides = range(len(policies))
    key = ", ".join(["domain", "bucket", "lacks", *(f"fate_{at}, fallen_{at}" for at in sides)])
    kept = " OR ".join(kept_sql(policy, at) for at, policy in enumerate(policies))
    cut, whole = (", ".join(f"{flag}cut_{at}" for at in sides) for flag in ("", "false AS "))
    moved = f"""(SELECT {key}, {whole}, images FROM fates
    UNION ALL SELECT {key}, {whole}, -images FROM cut
    UNION ALL SELECT {key}, {cut}, images FROM cut)"""
    crowded = CROWDED << 8 * (LAST - 1)
    codes = ", ".join(f"codes_{at} + CASE WHEN cut_{at} THEN {crowded} ELSE 0 END AS codes_{at}" for at in sides)
    return f"""{judged_ctes(policies, scores)},
fates AS MATERIALIZED (
  SELECT {key}, count(*) AS images, list({{'image_id': image_id, 'concept': concept}}) FILTER (WHERE {kept}) AS ended
  FROM judged GROUP BY {key}
),
entrants AS MATERIALIZED (
  SELECT {key}, one.image_id, one.concept FROM (SELECT {key}, unnest(ended) AS one FROM fates WHERE ended IS NOT NULL)
),
{_cut_ctes(policies, key, cut)},
groups AS MATERIALIZED (SELECT domain, bucket, images, {codes} FROM ({with_codes(moved, policies)}))"""


def _cut_ctes(policies: Sequence[Policy], key: str, flags: str) -> str:
    """`cut`: how many entrants of each group the distribution rule of each policy cuts."""
    crowded = "".join(
        f"crowded_{at} AS MATERIALIZED ({crowded_sql(policy, f'(SELECT * FROM entrants WHERE {kept_sql(policy, at)})')}),\n"
        for at, policy in enumerate(policies)
    )
    is_cut = ", ".join(f"image_id IN (SELECT image_id FROM crowded_{at}) AS cut_{at}" for at in range(len(policies)))
    return f"""{crowded}cut AS MATERIALIZED (
  SELECT {key}, {flags}, count(*) AS images FROM (SELECT *, {is_cut} FROM entrants)
  WHERE {flags.replace(", ", " OR ")} GROUP BY ALL
)"""


def assemble(policy: Policy, counted: Iterable[Mapping[str, Any]], images: int, side: int = 0) -> Funnel:
    """Fold the rows of `counts_sql` of one side. `images` is counted apart, over the table of images.

    Raises ConservationError when a stage does not account for every image.
    """
    rows = [
        {**row, **dict(zip(("verdict", "rule"), verdict_of(row["code"]), strict=True))}
        for row in counted
        if row["side"] == side
    ]
    stages = []
    for stage in STAGES:
        here = [row for row in rows if row["stage"] == stage]
        total = _tally(here)
        if total.images != images:
            raise ConservationError(
                f"stage {stage}: {images} images, but {total.kept} kept + {total.dropped_total} dropped + "
                f"{total.unjudged_total} unjudged = {total.images}"
            )
        stages.append(
            StageCount(
                stage=stage,
                images=images,
                total=total,
                by_domain=_by(here, "domain"),
                by_bucket=_by(here, "bucket"),
            )
        )
    return Funnel(policy_id=policy.policy_id, policy_name=policy.name, images=images, stages=tuple(stages))


def compare(old: Funnel, new: Funnel) -> tuple[StageChange, ...]:
    """What the new funnel keeps, drops and cannot judge beyond the old one, a row a stage."""
    return tuple(
        StageChange(
            stage=before.stage,
            kept=after.total.kept - before.total.kept,
            dropped=_difference(before.total.dropped, after.total.dropped),
            unjudged=_difference(before.total.unjudged, after.total.unjudged),
        )
        for before, after in zip(old.stages, new.stages, strict=True)
    )


def _by(rows: Sequence[Mapping[str, Any]], key: str) -> dict[str, Tally]:
    groups = sorted({row[key] for row in rows})
    return {group: _tally([row for row in rows if row[key] == group]) for group in groups}


def _tally(rows: Iterable[Mapping[str, Any]]) -> Tally:
    counts: Counter[tuple[str, str | None]] = Counter()
    for row in rows:
        counts[row["verdict"], row["rule"]] += row["images"]
    return Tally(
        kept=counts["kept", None],
        dropped={name: counts["dropped", name] for name in RULES if counts["dropped", name]},
        unjudged={name: counts["unjudged", name] for name in RULES if counts["unjudged", name]},
    )


def _difference(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, int]:
    changes = {name: after.get(name, 0) - before.get(name, 0) for name in RULES}
    return {name: change for name, change in changes.items() if change}
