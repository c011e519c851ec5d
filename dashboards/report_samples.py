"""Which images the report shows: samples that depend on the tables alone, because image ids are hashes."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from dashboards.report_data import Reached
from filters.rules import RULES
from flywheel.records import Locator
from flywheel.workspace import Workspace

# Our choice, all of them: what fits on one page that people scroll through.
KEPT = 48
DROPPED = 24
GROUPS = 20
MEMBERS = 5
OF_A_DOMAIN = 8

Views = Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """One image and what is written under it. `value` and `threshold` are those of the rule that dropped it."""

    image_id: str
    stage: int | None = None
    domain: str | None = None
    rule: str | None = None
    value: float | None = None
    threshold: float | None = None
    verdict: str | None = None
    distance: int | None = None
    proof: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """A sample of `total` images; `key` is a rule, a domain, or the verdict at the reached stage."""

    key: str
    total: int
    pictures: tuple[Shown, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """A representative, and the first of its `size` near-duplicates."""

    representative: Shown
    size: int
    members: tuple[Shown, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Original:
    """Where a shown image is read, and what is known about it. `seen_at` is the URI of its source."""

    image_id: str
    locator: Locator
    seen_at: str
    caption: str | None
    width_px: int
    height_px: int


def reached_sheet(workspace: Workspace, views: Views, at: Reached | None) -> Sheet | None:
    """What is kept at the furthest stage; where nothing is kept yet, what no rule refuses."""
    if at is None:
        return None
    rows = workspace.query(
        f"SELECT image_id, stage, domain, verdict FROM verdicts WHERE stage = {at.stage} AND verdict = '{at.verdict}' "
        f"ORDER BY image_id LIMIT {KEPT}",
        views,
    )
    return Sheet(key=at.verdict, total=at.images, pictures=tuple(Shown(**row) for row in rows.to_pylist()))


def dropped_sheets(workspace: Workspace, views: Views) -> tuple[Sheet, ...]:
    """One sheet a rule, in the order of the rules: the images that it was the first to drop, at that stage.

    So every dropped image belongs to one sheet, and the totals add up to what the last stage drops.
    """
    rows = workspace.query(
        f"""
SELECT *, count(*) OVER (PARTITION BY rule) AS total FROM (
  SELECT image_id, stage, domain, rule, value, threshold, verdict FROM verdicts WHERE verdict = 'dropped'
  QUALIFY row_number() OVER (PARTITION BY image_id ORDER BY stage) = 1
) QUALIFY row_number() OVER (PARTITION BY rule ORDER BY stage, image_id) <= {DROPPED} ORDER BY rule, stage, image_id""",
        views,
    ).to_pylist()
    return _sheets(rows, "rule", [name for name in RULES if any(row["rule"] == name for row in rows)])


def domain_sheets(workspace: Workspace, views: Views, at: Reached | None) -> tuple[Sheet, ...]:
    """One sheet a domain, the largest first, with each image's verdict at the reached stage."""
    rows = workspace.query(
        f"""
SELECT image_id, stage, domain, rule, value, threshold, verdict, count(*) OVER (PARTITION BY domain) AS total
FROM verdicts WHERE stage = {at.stage if at else 1}
QUALIFY row_number() OVER (PARTITION BY domain ORDER BY image_id) <= {OF_A_DOMAIN} ORDER BY image_id""",
        views,
    ).to_pylist()
    totals = {row["domain"]: row["total"] for row in rows}
    return _sheets(rows, "domain", sorted(totals, key=lambda name: (-totals[name], name)))


def _sheets(rows: Sequence[Mapping[str, Any]], column: str, keys: Collection[str]) -> tuple[Sheet, ...]:
    fields = ("image_id", "stage", "domain", "rule", "value", "threshold", "verdict")
    sheets = []
    for key in keys:
        mine = [row for row in rows if row[column] == key]
        pictures = tuple(Shown(**{name: row[name] for name in fields}) for row in mine)
        sheets.append(Sheet(key=key, total=mine[0]["total"], pictures=pictures))
    return tuple(sheets)


def duplicate_groups(workspace: Workspace) -> tuple[Group, ...]:
    """The largest groups first; members by image_id."""
    rows = workspace.query(
        f"""
WITH members AS (
  SELECT *, count(*) OVER (PARTITION BY representative_id) AS size,
         row_number() OVER (PARTITION BY representative_id ORDER BY image_id) AS place
  FROM duplicate_groups WHERE image_id <> representative_id
    AND image_id IN (SELECT image_id FROM images) AND representative_id IN (SELECT image_id FROM images)
)
SELECT * FROM members WHERE place <= {MEMBERS}
QUALIFY dense_rank() OVER (ORDER BY size DESC, representative_id) <= {GROUPS}
ORDER BY size DESC, representative_id, place"""
    ).to_pylist()
    groups = []
    for representative_id in dict.fromkeys(row["representative_id"] for row in rows):
        mine = [row for row in rows if row["representative_id"] == representative_id]
        members = tuple(Shown(image_id=r["image_id"], distance=r["distance"], proof=r["proof"]) for r in mine)
        groups.append(Group(representative=Shown(image_id=representative_id), size=mine[0]["size"], members=members))
    return tuple(groups)


def originals(workspace: Workspace, image_ids: Collection[str]) -> dict[str, Original]:
    """Where the shown images are, and what their sources say about them."""
    rows = workspace.query(
        'SELECT i.image_id, i.uri, i.member, i."offset", i.length, i.width_px, i.height_px, '
        "coalesce(s.uri, i.uri) AS seen_at, s.caption FROM images i JOIN wanted USING (image_id) "
        "LEFT JOIN sources s ON s.source_id = i.source_id ORDER BY i.image_id",
        wanted=pa.table({"image_id": pa.array(sorted(image_ids), pa.string())}),
    ).to_pylist()
    return {
        row["image_id"]: Original(
            image_id=row["image_id"],
            locator=Locator.of(row),
            seen_at=row["seen_at"],
            caption=row["caption"],
            width_px=row["width_px"],
            height_px=row["height_px"],
        )
        for row in rows
    }
