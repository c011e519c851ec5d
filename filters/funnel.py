"""The funnel: how many images each stage keeps, drops and cannot judge, and what a change of policy would do.

`funnel_sql` counts cells in one pass, `assemble` folds them into a `Funnel` and checks that every image is
accounted for at every stage: in = kept + dropped + unjudged.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from filters.policy import Policy
from filters.rules import RULES, STAGES
from filters.verdicts import LAST, code_sql, crowded_code, judged_ctes, rule_sql, verdict_sql
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


def funnel_sql(policy: Policy, scores: str = "scores") -> str:
    """SQL: stage, domain, bucket, verdict, rule, images; cells without images are left out.

    Images of one domain, bucket and fate are counted together first: a few thousand groups, not six rows an image.
    What the distribution rule drops is then moved from kept to dropped.
    """
    moved = f"SELECT {LAST}, {{code}}, domain, bucket, {{sign}}count(*) FROM crowded GROUP BY domain, bucket"
    return f"""
WITH {judged_ctes(policy, scores)},
fates AS (SELECT domain, bucket, fate, count(*) AS images FROM judged GROUP BY ALL),
cells AS (
  SELECT stage, {code_sql("fate", "stage")} AS code, domain, bucket, images
  FROM fates, unnest({list(STAGES)}) AS t(stage)
  UNION ALL {moved.format(code=0, sign="-")}
  UNION ALL {moved.format(code=crowded_code(policy), sign="")}
)
SELECT stage, domain, bucket, {verdict_sql(policy, "code")} AS verdict, {rule_sql(policy, "code")} AS rule,
       sum(images)::BIGINT AS images
FROM cells GROUP BY ALL HAVING sum(images) <> 0 ORDER BY ALL"""


def flips_sql(old: Policy, new: Policy, scores: str = "scores") -> str:
    """SQL: image_id, stage, old_verdict, old_rule, new_verdict, new_rule, where the verdict or the blame differs."""
    before, after = _fates_sql(old, scores), _fates_sql(new, scores)
    return f"""
WITH paired AS (
  SELECT image_id, old.fate AS old_fate, new.fate AS new_fate, old.cut AS old_cut, new.cut AS new_cut
  FROM ({before}) old JOIN ({after}) new USING (image_id)
),
staged AS (SELECT *, unnest({list(STAGES)}) AS stage FROM paired),
named AS (SELECT image_id, stage, {_named(old, "old")}, {_named(new, "new")} FROM staged)
SELECT * FROM named WHERE old_verdict <> new_verdict OR old_rule IS DISTINCT FROM new_rule
ORDER BY stage, image_id"""


def _fates_sql(policy: Policy, scores: str) -> str:
    return f"""WITH {judged_ctes(policy, scores)}
SELECT j.image_id, j.fate, c.image_id IS NOT NULL AS cut FROM judged j LEFT JOIN crowded c USING (image_id)"""


def _named(policy: Policy, side: str) -> str:
    crowded = f"WHEN stage = {LAST} AND {side}_cut THEN {crowded_code(policy)}"
    code = f"(CASE {crowded} ELSE {code_sql(f'{side}_fate', 'stage')} END)"
    return f"{verdict_sql(policy, code)} AS {side}_verdict, {rule_sql(policy, code)} AS {side}_rule"


def assemble(policy: Policy, cells: Iterable[Mapping[str, Any]], images: int) -> Funnel:
    """Fold the rows of `funnel_sql`. `images` is counted apart, over the table of images.

    Raises ConservationError when a stage does not account for every image.
    """
    rows = list(cells)
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


def _by(rows: list[Mapping[str, Any]], key: str) -> dict[str, Tally]:
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
