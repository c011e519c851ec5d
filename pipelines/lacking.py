"""What a pass over images still has to do: the plan of every step that looks at pictures and writes rows of several kinds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from flywheel.records import Failure, Locator, Status
from flywheel.workspace import Workspace
from pipelines.decoding import MeasureItem
from pipelines.engine import EndedRow
from pipelines.sheet import sheet_views


def lacking(
    workspace: Workspace, step: str, config_hash: str, has: Mapping[str, str], *, only: str, retry: bool
) -> list[MeasureItem]:
    """Images that the step has not completed under `config_hash`, each with what it lacks, in order of their ids.

    `has`: SQL of the image ids that have it, by name. What a torn micro-batch has left is no longer lacking, so keys stay
    unique. `only` is a condition over `images` (alias i) and the view `scores` (s). `retry` takes the quarantined, too.
    """
    lacks = ", ".join(f"i.image_id NOT IN ({sql}) AS lacks_{name}" for name, sql in has.items())
    settled = "status <> 'quarantined'" if retry else "true"
    rows = workspace.query(
        f'SELECT i.image_id, i.uri, i.member, i."offset", i.length, coalesce(t.attempt, 0) + 1 AS attempt, {lacks} '
        f"FROM images i JOIN scores s USING (image_id) "
        f"LEFT JOIN (SELECT subject_id, max(attempt) AS attempt FROM outcomes WHERE step = '{step}' GROUP BY 1) t "
        f"ON t.subject_id = i.image_id "
        f"WHERE i.image_id NOT IN (SELECT subject_id FROM last_outcomes "
        f"WHERE step = '{step}' AND config_hash = '{config_hash}' AND {settled}) AND {only} ORDER BY i.image_id",
        sheet_views(workspace),
    )
    return [
        MeasureItem(
            image_id=row["image_id"],
            locator=Locator.of(row),
            scorers=tuple(name for name in has if row[f"lacks_{name}"]),
            attempt=row["attempt"],
        )
        for row in rows.to_pylist()
    ]


def attempts(workspace: Workspace, step: str, config_hash: str) -> dict[str, int]:
    """How often each subject was tried; those that never were are not there."""
    rows = workspace.query(
        f"SELECT subject_id, max(attempt) AS attempt FROM outcomes WHERE step = '{step}' "
        f"AND config_hash = '{config_hash}' GROUP BY 1"
    ).to_pydict()
    return dict(zip(rows["subject_id"], rows["attempt"], strict=True))


def ended(items: Sequence[MeasureItem], answers: Sequence[object], good: str) -> tuple[list[EndedRow], Counter[str]]:
    """How each item ended, and the counts of the conservation law; `good` is what an answer counts as."""
    done: list[EndedRow] = []
    counts: Counter[str] = Counter()
    for item, answer in zip(items, answers, strict=True):
        failure = answer if isinstance(answer, Failure) else None
        status = failure.status if failure else Status.OK
        done.append((item.image_id, item.attempt, status, failure))
        counts.update({"in": 1, str(status) if failure else good: 1})
        if failure is not None:
            counts[f"{status}:{failure.reason}"] += 1
    return done, counts
