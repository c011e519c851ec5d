"""Evaluate: a checkpoint's pictures of a suite, each judged facet by facet, as often as asked; then the figures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pyarrow as pa

from flywheel.facets import SCORE
from flywheel.images.sandbox import Sandbox
from flywheel.records import Failure, Locator, Status
from flywheel.schemas import TABLES
from flywheel.suites.figures import Figure, Judged, figures
from flywheel.suites.item import Item, Scored
from flywheel.workspace import Workspace
from pipelines.engine import EndedRow, Progress, Settled, Step, StepReport, batched, config_hash_of, drive, outcome_rows
from pipelines.executors import Answers, Batch, Executor
from pipelines.generating import generate
from pipelines.generators import Generator
from pipelines.judges import Judge, Shown
from pipelines.lacking import attempts
from pipelines.sending import sending_task
from pipelines.suites import enrolled

STEP = "evaluate"
LAW = ("judged", "quarantined", "rejected")
BATCH = 64  # pictures; our choice


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One picture to be judged once more."""

    generation_id: str
    item: Item
    image_id: str
    locator: Locator
    repeat: int
    attempt: int = 1

    @property
    def subject_id(self) -> str:
        return f"{self.generation_id} {self.repeat}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    steps: tuple[StepReport, ...]
    figures: tuple[Figure, ...]


def evaluate(
    workspace: Workspace,
    generator: Generator,
    items: Sequence[Item],
    judge: Judge,
    executor: Executor,
    progress: Progress,
    *,
    seeds: int = 1,
    repeats: int = 1,
) -> Evaluation:
    """Draw what is missing, judge what is not judged, tell the figures. Run again, it does only what is new.

    Raises what its steps raise: AnotherDriver, DiskReserve, ConservationError, ServerDown, UsageError.
    """
    known = enrolled(workspace, items)
    items = [one.item for one in known]
    drawn = generate(workspace, generator, known, seeds, executor, progress)
    looks = 1 if judge.is_certain else repeats
    judged = drive(workspace, partial(_plan, workspace, generator, items, seeds, judge, looks), executor, LAW, progress)
    found = _judged(workspace, generator, items, seeds, judge)
    return Evaluation(steps=(drawn, judged), figures=tuple(figures(found)))


def _plan(
    workspace: Workspace, generator: Generator, items: Sequence[Item], seeds: int, judge: Judge, repeats: int
) -> Step:
    there = workspace.query(
        f"SELECT generation_id, repeat FROM evaluations WHERE judge = {_quoted(judge.version)} AND facet = '{SCORE}'"
    )
    known = set(zip(there["generation_id"].to_pylist(), there["repeat"].to_pylist(), strict=True))
    config_hash = config_hash_of({"judge": judge.version})
    tried = attempts(workspace, STEP, config_hash)
    looks = [
        replace(look, attempt=1 + tried.get(look.subject_id, 0))
        for repeat in range(repeats)
        for look in _pictures(workspace, generator, items, seeds, repeat)
        if (look.generation_id, repeat) not in known
    ]
    return Step(
        name=STEP,
        config_hash=config_hash,
        batches=batched(looks, BATCH),
        task=sending_task(workspace.config.ingest.budgets, partial(judged, judge=judge)),
        settle=partial(_settle, judge),
        total=len(looks),
        detail={"judge": judge.version, "checkpoint": generator.checkpoint_id},
    )


def _pictures(workspace: Workspace, generator: Generator, items: Sequence[Item], seeds: int, repeat: int) -> list[Look]:
    by_id = {one.item_id: one for one in items}
    rows = workspace.query(
        'SELECT generation_id, item_id, seed, image_id, uri, member, "offset", length FROM generations '
        f"JOIN pictures USING (image_id) WHERE checkpoint_id = {_quoted(generator.checkpoint_id)} "
        f"AND sampler_json = {_quoted(generator.sampler_json)} AND seed < {seeds} ORDER BY generation_id"
    ).to_pylist()
    return [
        Look(
            generation_id=row["generation_id"],
            item=by_id[row["item_id"]],
            image_id=row["image_id"],
            locator=Locator.of(row),
            repeat=repeat,
        )
        for row in rows
        if row["item_id"] in by_id
    ]


def judged(looks: Sequence[Look], sandbox: Sandbox[Any, Any], judge: Judge) -> list[Scored | Failure]:
    """What a worker does with a micro-batch: pictures from its child, verdicts from the judge."""
    pictures = list(sandbox.run(looks))
    shown = [
        Shown(item=look.item, picture=picture, repeat=look.repeat)
        for look, picture in zip(looks, pictures, strict=True)
        if not isinstance(picture, Failure)
    ]
    found = iter(judge.scored(shown))
    return [picture if isinstance(picture, Failure) else next(found) for picture in pictures]


def _settle(judge: Judge, batch: Batch, answers: Answers) -> Settled:
    done: list[EndedRow] = []
    rows, counts = [], Counter[str]()
    for look, answer in zip(batch, answers, strict=True):
        failure = answer if isinstance(answer, Failure) else None
        status = failure.status if failure else Status.OK
        done.append((look.subject_id, look.attempt, status, failure))
        counts.update({"in": 1, str(status) if failure else "judged": 1})
        if not isinstance(answer, Failure):
            rows += _rows(look, judge, answer)
    tables = {"evaluations": pa.Table.from_pylist(rows, schema=TABLES["evaluations"].schema)}
    return Settled(tables, outcome_rows(STEP, config_hash_of({"judge": judge.version}), done), counts)


def _rows(look: Look, judge: Judge, scored: Scored) -> list[dict[str, Any]]:
    facets: dict[str, float] = {SCORE: scored.score, **{str(facet): score for facet, score in scored.facets.items()}}
    return [
        {
            "generation_id": look.generation_id,
            "facet": facet,
            "judge": judge.version,
            "repeat": look.repeat,
            "score": score,
            "weight": scored.weight,
            "why": list(scored.why) if facet == SCORE else [],
        }
        for facet, score in facets.items()
    ]


def _judged(
    workspace: Workspace, generator: Generator, items: Sequence[Item], seeds: int, judge: Judge
) -> list[Judged]:
    labels = {one.item_id: ["all", *(f"{name} {value}" for name, value in one.labels.items())] for one in items}
    rows = workspace.query(
        "SELECT g.item_id, g.generation_id, e.facet, e.judge, e.score FROM evaluations e JOIN generations g USING (generation_id) "
        f"WHERE g.checkpoint_id = {_quoted(generator.checkpoint_id)} AND g.sampler_json = {_quoted(generator.sampler_json)} "
        f"AND g.seed < {seeds} AND e.judge = {_quoted(judge.version)} ORDER BY g.item_id, g.seed, e.repeat"
    ).to_pylist()
    return [Judged(**row, slices=labels[row["item_id"]]) for row in rows if row["item_id"] in labels]


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
