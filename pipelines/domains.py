"""Domains: a score derived from the other scores; no pixel is read.

A domain is complete under what it was derived from, not under its own version alone: a reading that comes later
changes what can be said. Where the scores at hand are not those of the last derivation, the image is pending again
and its row is replaced, so that measuring pass by pass ends as one run over everything does.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import pyarrow as pa

from filters.scorers import SCORERS
from filters.scorers.domain import DERIVED_FROM
from flywheel.records import Status
from flywheel.workspace import Workspace
from pipelines.engine import Progress, Settled, Step, StepReport, drive, outcome_rows
from pipelines.executors import Answers, Batch
from pipelines.executors.inline import InlineExecutor
from pipelines.sheet import sheet_views

STEP = "measure.domain"
LAW = ("measured",)
# Replacing rows rewrites the files that they lie in: few large batches rather than many small ones. Our choice.
_BATCH = 2048


def name_domains(workspace: Workspace, progress: Progress) -> StepReport:
    """Derive the domain of every image that has none, or whose scores are not those it was derived from."""
    return drive(workspace, partial(_plan, workspace), InlineExecutor(), LAW, progress)


def _plan(workspace: Workspace) -> Step:
    pending = workspace.query(_pending_sql(), sheet_views(workspace))
    return Step(
        name=STEP,
        config_hash=" ".join([f"{SCORERS['domain'].version} of", *(SCORERS[name].version for name in DERIVED_FROM)]),
        batches=_batches(pending),
        task=None,
        settle=_settle,
        total=pending.num_rows,
    )


def _pending_sql() -> str:
    """Wide score rows with `boxes_json`, `attempt` and `derived_from`, the key under which the domain is complete.

    The key is compared with the last one, not with any: scores that were taken back make an old key the present
    one again. A row that is missing under a complete key (the run that replaced it was retracted) is pending, too.
    """
    has = ", ".join(f"coalesce({name}_version, 'no {name}')" for name in DERIVED_FROM)
    return (
        f"SELECT s.*, r.boxes_json, coalesce(l.attempt, 0) + 1 AS attempt FROM (SELECT *, "
        f"concat_ws(' ', '{SCORERS['domain'].version} of', {has}) AS derived_from FROM scores) s "
        f"LEFT JOIN (SELECT * FROM last_outcomes WHERE step = '{STEP}') l ON l.subject_id = s.image_id "
        f"LEFT JOIN score_ocr r ON r.image_id = s.image_id AND r.version = s.ocr_version "
        f"WHERE l.config_hash IS DISTINCT FROM s.derived_from OR s.domain_version IS NULL ORDER BY s.image_id"
    )


def _settle(batch: Batch, _: Answers) -> Settled:
    """Rows that are there already, from other scores or from a run killed before its outcomes, are replaced."""
    scorer = SCORERS["domain"]
    assert scorer.measure is not None
    rows = [{"image_id": row["image_id"], "version": scorer.version, **scorer.measure(row)} for row in batch]
    old = [{"image_id": row["image_id"], "version": scorer.version} for row in batch if row["domain_version"]]
    done: defaultdict[str, list[tuple[str, int, Status, None]]] = defaultdict(list)
    for row in batch:
        done[row["derived_from"]].append((row["image_id"], row["attempt"], Status.OK, None))
    return Settled(
        {"score_domain": pa.Table.from_pylist(rows, schema=scorer.table.schema)},
        pa.concat_tables([outcome_rows(STEP, key, ended) for key, ended in done.items()]),
        Counter({"in": len(batch), "measured": len(batch)}),
        {"score_domain": pa.Table.from_pylist(old)} if old else {},
    )


def _batches(rows: pa.Table) -> Iterator[list[Mapping[str, Any]]]:
    for start in range(0, rows.num_rows, _BATCH):
        yield rows.slice(start, _BATCH).to_pylist()
