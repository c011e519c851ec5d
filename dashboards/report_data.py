"""What the report says in numbers: the conservation laws, the funnel, every score's distribution, the balance.

Only questions asked of stored tables; no pixel is read here, and nothing depends on the clock.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from filters.funnel import Funnel, assemble, counts_sql
from filters.policy import Policy, check_versions
from filters.rules import STAGES
from filters.scorers import SCORERS
from flywheel.workspace import Workspace

Views = Mapping[str, str]

EXAMPLES = 3  # our choice: rejected files named for each reason
_PAIRS = "pairs"  # the step whose subjects are lines of listings
LARGEST = 14  # our choice: values of one facet that get a bar of their own


@dataclass(frozen=True, slots=True, kw_only=True)
class Ingested:
    """Sources by their last outcome. `open` have none yet: a run was interrupted and will go on."""

    sources: int
    new: int
    known: int
    rejected: int
    quarantined: int

    @property
    def open(self) -> int:
        return self.sources - self.new - self.known - self.rejected - self.quarantined


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """What was looked at. Times are those of the runs, ISO 8601, None before any run."""

    workspace: str
    images: int
    bytes: int
    datasets: tuple[str, ...]
    first_at: str | None
    last_at: str | None
    ingested: Ingested


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """The furthest stage that any image reaches: kept there or, where nothing is kept yet, still unjudged."""

    stage: int
    verdict: Literal["kept", "unjudged"]
    images: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejects:
    """What ended with one reason in one step, and a few of it: (uri, detail)."""

    step: str
    status: str
    reason: str
    count: int
    examples: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """One value of a facet: all images that have it, and those that are left at the reached stage."""

    name: str
    images: int
    left: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Facet:
    name: str
    shares: tuple[Share, ...]

    @property
    def largest(self) -> int:
        return max((share.images for share in self.shares), default=0)


def overview(workspace: Workspace) -> Overview:
    """Figures of the whole workspace."""
    images = workspace.query("SELECT count(*) AS n, coalesce(sum(bytes), 0)::BIGINT AS b FROM images").to_pylist()[0]
    datasets = workspace.query("SELECT DISTINCT dataset FROM sources WHERE dataset IS NOT NULL ORDER BY 1")
    # Drawing a page is a run, too, but no news on it.
    times = workspace.query(
        "SELECT min(started_at) AS first, max(last_at) AS last FROM runs WHERE step <> 'report'"
    ).to_pylist()[0]
    return Overview(
        workspace=workspace.uri,
        images=images["n"],
        bytes=images["b"],
        datasets=tuple(datasets["dataset"].to_pylist()),
        first_at=times["first"],
        last_at=times["last"],
        ingested=_ingested(workspace),
    )


def _ingested(workspace: Workspace) -> Ingested:
    sources = workspace.query("SELECT count(*) AS n FROM sources")["n"][0].as_py()
    ended = workspace.query(
        "SELECT o.status, count(*) AS n FROM last_outcomes o JOIN sources s ON s.source_id = o.subject_id "
        "WHERE o.step = 'ingest' GROUP BY 1"
    ).to_pylist()
    counts = Counter({row["status"]: row["n"] for row in ended})
    return Ingested(
        sources=sources,
        new=counts["ok"],
        known=counts["known"],
        rejected=counts["rejected"],
        quarantined=counts["quarantined"],
    )


def funnel_of(workspace: Workspace, policy: Policy, views: Views) -> Funnel:
    """The funnel of all images under the policy that `views` were made for.

    Raises PolicyError when scores are of other versions than the policy was calibrated for, ConservationError.
    """
    check_versions(policy, {name: scorer.version for name, scorer in SCORERS.items()})
    images = workspace.query("SELECT count(*) AS n FROM images")["n"][0].as_py()
    return assemble(policy, workspace.query(counts_sql([policy]), views).to_pylist(), images)


def reached(funnel: Funnel) -> Reached | None:
    """None where every image is dropped, or there is none."""
    for stage in reversed(funnel.stages):
        if stage.total.kept:
            return Reached(stage=stage.stage, verdict="kept", images=stage.total.kept)
    for stage in reversed(funnel.stages):
        if stage.total.unjudged_total:
            return Reached(stage=stage.stage, verdict="unjudged", images=stage.total.unjudged_total)
    return None


def rejects(workspace: Workspace) -> tuple[Rejects, ...]:
    """Files that did not become an image or a score, by step and reason. They are never opened."""
    return _ended(workspace, f"step <> '{_PAIRS}'", "uri, subject_id")


def refused_lines(workspace: Workspace) -> tuple[Rejects, ...]:
    """Lines of edit-pair listings that did not become a pair, by reason. Their details say which they are."""
    return _ended(workspace, f"step = '{_PAIRS}'", "length(detail), detail, subject_id")  # line 9 before line 10


def _ended(workspace: Workspace, condition: str, order: str) -> tuple[Rejects, ...]:
    rows = workspace.query(
        "SELECT step, status, reason, count(*) AS n, "
        f"list({{'uri': uri, 'detail': coalesce(detail, '')}} ORDER BY {order})[1:{EXAMPLES}] AS examples "
        f"FROM rejects WHERE {condition} GROUP BY ALL ORDER BY step, status DESC, n DESC, reason"
    )
    return tuple(
        Rejects(
            step=row["step"],
            status=row["status"],
            reason=row["reason"] or "unknown",
            count=row["n"],
            examples=tuple((example["uri"], example["detail"]) for example in row["examples"]),
        )
        for row in rows.to_pylist()
    )


def balance(workspace: Workspace, views: Views, at: Reached | None) -> tuple[Facet, ...]:
    """Counts by domain, aspect bucket, resolution, dataset, licence and script.

    The resolution is the one an image would be trained at in the last stage.
    """
    stage, verdict = (at.stage, at.verdict) if at else (STAGES[0], "kept")
    rows = workspace.query(
        f"""
WITH judged AS (
  SELECT image_id, any_value(domain) AS domain, any_value(bucket) AS bucket,
         max(resolution_px) FILTER (stage = {STAGES[-1]}) AS resolution_px,
         bool_or(stage = {stage} AND verdict = '{verdict}') AS remains
  FROM verdicts WHERE stage IN ({stage}, {STAGES[-1]}) GROUP BY image_id
)
SELECT j.domain, j.bucket, j.resolution_px, s.dataset, s.licence, s.script,
       grouping(j.domain, j.bucket, j.resolution_px, s.dataset, s.licence, s.script) AS facet,
       count(*) AS images, count(*) FILTER (remains) AS remaining
FROM judged j JOIN scores s USING (image_id)
GROUP BY GROUPING SETS ((j.domain), (j.bucket), (j.resolution_px), (s.dataset), (s.licence), (s.script))""",
        views,
    ).to_pylist()
    return tuple(
        Facet(name=title, shares=_shares(column, [row for row in rows if row["facet"] == _grouped(place)]))
        for place, (column, title) in enumerate(_FACETS)
    )


_FACETS = (
    ("domain", "Domain"),
    ("bucket", "Aspect ratio"),
    ("resolution_px", "Trained at, last stage"),
    ("dataset", "Dataset"),
    ("licence", "Licence"),
    ("script", "Script"),
)
_UNKNOWN = {"resolution_px": "too small", "script": "not read", "licence": "not stated"}


def _grouped(place: int) -> int:
    """What SQL's GROUPING gives when all columns but this one are rolled up: a bit a column, the first highest."""
    width = len(_FACETS)
    return (1 << width) - 1 - (1 << (width - 1 - place))


def _shares(column: str, rows: Sequence[Mapping[str, int | str | None]]) -> tuple[Share, ...]:
    """By size, what falls off the end added up; buckets and sizes in their own order."""
    shares = [
        Share(name=_name(column, row[column]), images=int(row["images"] or 0), left=int(row["remaining"] or 0))
        for row in rows
    ]
    shares.sort(key=lambda share: (-share.images, share.name))
    if len(shares) > LARGEST:
        rest = shares[LARGEST - 1 :]
        others = Share(name=f"{len(rest)} others", images=sum(s.images for s in rest), left=sum(s.left for s in rest))
        shares = [*shares[: LARGEST - 1], others]
    if column == "bucket":
        shares.sort(key=lambda share: _ratio(share.name))
    if column == "resolution_px":
        shares.sort(key=lambda share: int(share.name.removesuffix(" px")) if share.name.endswith(" px") else 0)
    return tuple(shares)


def _name(column: str, value: int | str | None) -> str:
    if value is None or value == "":
        return _UNKNOWN.get(column, "unknown")
    return f"{value} px" if column == "resolution_px" else str(value)


def _ratio(bucket: str) -> float:
    width, _, height = bucket.partition(":")
    return int(width) / int(height)
