"""Domains: a score derived from the other scores; no pixel is read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa

from filters.scorers import SCORERS
from flywheel.records import Status
from flywheel.workspace import Workspace
from pipelines.engine import Progress, Settled, Step, StepReport, drive, outcome_rows
from pipelines.executors import Answers, Batch
from pipelines.executors.inline import InlineExecutor
from pipelines.judging import judging_views

STEP = "measure.domain"
LAW = ("measured",)
_BATCH = 256


def name_domains(workspace: Workspace, progress: Progress) -> StepReport:
    """Give every image that has none at the present version its domain."""
    scorer = SCORERS["domain"]
    pending = workspace.query(
        f"SELECT * FROM scores WHERE image_id NOT IN "
        f"(SELECT subject_id FROM outcomes WHERE step = '{STEP}' AND config_hash = '{scorer.version}') ORDER BY image_id",
        judging_views(workspace),
    )
    left = workspace.query(
        f"SELECT image_id FROM score_domain WHERE version = '{scorer.version}' AND image_id NOT IN "
        f"(SELECT subject_id FROM outcomes WHERE step = '{STEP}' AND config_hash = '{scorer.version}')"
    )
    written = frozenset(left["image_id"].to_pylist())

    def settle(batch: Batch, _: Answers) -> Settled:
        assert scorer.measure is not None
        rows = [
            {"image_id": row["image_id"], "version": scorer.version, **scorer.measure(row)}
            for row in batch
            if row["image_id"] not in written
        ]
        done = outcome_rows(STEP, scorer.version, [(row["image_id"], 1, Status.OK, None) for row in batch])
        table = pa.Table.from_pylist(rows, schema=scorer.table.schema)
        return Settled({"score_domain": table}, done, Counter({"in": len(batch), "measured": len(batch)}))

    step = Step(
        name=STEP,
        config_hash=scorer.version,
        batches=_batches(pending),
        task=None,
        settle=settle,
        total=pending.num_rows,
    )
    return drive(workspace, step, InlineExecutor(), LAW, progress)


def _batches(rows: pa.Table) -> Iterator[list[Mapping[str, Any]]]:
    for start in range(0, rows.num_rows, _BATCH):
        yield rows.slice(start, _BATCH).to_pylist()
