"""Measure: passes over images that lack scores, each decoding once for all the scorers it feeds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow as pa

from filters.scorers import SCORERS
from flywheel.records import Failure
from flywheel.workspace import Workspace
from pipelines.decoding import MeasureContext
from pipelines.engine import Progress, Settled, Step, StepReport, batched, config_hash_of, drive, outcome_rows
from pipelines.executors import Answers, Batch, Executor, Task
from pipelines.lacking import ended, lacking

LAW = ("measured", "rejected", "quarantined")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """One decode for several scorers. `only` is a SQL condition over `images` (alias i) and the view `scores` (s).

    `patience` times the configured `decode_s` is what one image may take, `engine_bytes` the address space that
    a reading engine maps beyond the configured `child_memory_mb`.
    """

    name: str
    reads: str
    item: str
    batch: int
    only: str
    patience: float
    engine_bytes: int
    says: str

    @property
    def scorers(self) -> tuple[str, ...]:
        return tuple(name for name, scorer in SCORERS.items() if scorer.reads == self.reads)


# What the caption-free rules of stage 1 have dropped is not worth its native pixels.
# A near duplicate is: who stands for a group is decided by these very numbers.
SURVIVES = (
    "s.image_id NOT IN (SELECT image_id FROM verdicts WHERE stage = 1 AND verdict = 'dropped' AND rule <> 'duplicate')"
)
# Our choice, not calibrated yet: reading costs most of a second, so pictures without text-like strokes are spared.
_TEXTUAL = "s.text_density >= 0.02"

# Measured: onnxruntime, its models and a page of 1,000,000 px map 0.5 GB, beside what decoding needs.
_OCR_BYTES = 512 << 20
# Ingest says that an image is complete for the scaled pass when it is complete itself: what a killed ingest has left
# half-written would be said twice.
_SETTLED = "i.source_id IN (SELECT subject_id FROM outcomes WHERE step = 'ingest' AND status IN ('ok', 'known'))"

PASSES: Mapping[str, Pass] = {
    "scaled": Pass(
        name="scaled",
        reads="scaled",
        item="pipelines.decoding:scaled_item",
        batch=256,
        only=_SETTLED,
        patience=1.0,
        engine_bytes=0,
        says="tone, hashes, compression, orientation, text density; rides on ingest's decode",
    ),
    "native": Pass(
        name="native",
        reads="native",
        item="pipelines.decoding:native_item",
        batch=128,
        only=SURVIVES,
        patience=1.5,
        engine_bytes=0,
        says="sharpness, noise and blockiness at native resolution",
    ),
    "ocr": Pass(
        name="ocr",
        reads="ocr",
        item="pipelines.decoding:ocr_item",
        batch=16,
        only=f"{SURVIVES} AND {_TEXTUAL}",
        patience=6.0,
        engine_bytes=_OCR_BYTES,
        says="words, boxes, script of what looks like text",
    ),
}


def measure(
    workspace: Workspace, name: str, executor: Executor, progress: Progress, *, retry: bool = False
) -> StepReport:
    """Fill what the scorers of one pass have not measured yet, at their present versions.

    Raises AnotherDriver, DiskReserve, ConservationError.
    """
    return drive(workspace, partial(plan, workspace, PASSES[name], retry), executor, LAW, progress)


def plan(workspace: Workspace, kind: Pass, retry: bool) -> Step:
    """The pass over what it has not completed, under the limits of the configuration."""
    step_name, config_hash = step_of(kind.name)
    budgets = workspace.config.ingest.budgets
    items = lacking(workspace, step_name, config_hash, _has(kind), only=kind.only, retry=retry)
    return Step(
        name=step_name,
        config_hash=config_hash,
        batches=batched(items, min(kind.batch, workspace.config.run.micro_batch)),
        task=Task(
            item=kind.item,
            context=MeasureContext(budgets=budgets),
            memory_bytes=budgets.child_memory_bytes + kind.engine_bytes,
            item_s=budgets.decode_s * kind.patience,
        ),
        settle=lambda batch, answers: _settle(kind, step_name, config_hash, batch, answers),
        total=len(items),
        detail={"scorers": {scorer: SCORERS[scorer].version for scorer in kind.scorers}},
    )


def step_of(name: str) -> tuple[str, str]:
    """The step of a pass and the hash of the scorer versions under which its outcomes count."""
    return f"measure.{name}", config_hash_of({scorer: SCORERS[scorer].version for scorer in PASSES[name].scorers})


def _has(kind: Pass) -> dict[str, str]:
    """SQL of the images that each scorer has measured at its present version."""
    return {
        name: f"SELECT image_id FROM score_{name} WHERE version = '{SCORERS[name].version}'" for name in kind.scorers
    }


def _settle(kind: Pass, step: str, config_hash: str, batch: Batch, answers: Answers) -> Settled:
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in kind.scorers}
    for item, answer in zip(batch, answers, strict=True):
        for scorer, row in {} if isinstance(answer, Failure) else answer.items():
            rows[scorer].append({"image_id": item.image_id, "version": SCORERS[scorer].version, **row})
    tables = {
        f"score_{name}": pa.Table.from_pylist(found, schema=SCORERS[name].table.schema) for name, found in rows.items()
    }
    done, counts = ended(batch, answers, "measured")
    return Settled(tables, outcome_rows(step, config_hash, done), counts)
