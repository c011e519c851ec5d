"""Generate: the pictures of a suite that a checkpoint has not drawn yet, under fixed seeds, kept with what was asked.

A micro-batch's pictures lie in one pack; a killed run goes on behind the last one.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import pyarrow as pa

from flywheel.images.sandbox import Sandbox
from flywheel.records import Failure, Status
from flywheel.schemas import TABLES
from flywheel.seeds import content_id
from flywheel.workspace import Workspace
from pipelines.engine import EndedRow, Progress, Settled, Step, StepReport, batched, config_hash_of, drive, outcome_rows
from pipelines.executors import Answers, Batch, Executor
from pipelines.generators import Generator, Request, generation_id
from pipelines.lacking import attempts
from pipelines.pictures import Kept, kept_pictures
from pipelines.sending import sending_task
from pipelines.suites import Enrolled

STEP = "generate"
LAW = ("drawn", "quarantined", "rejected")
BATCH = 32  # pictures; our choice


def generate(
    workspace: Workspace,
    generator: Generator,
    enrolled: Sequence[Enrolled],
    seeds: int,
    executor: Executor,
    progress: Progress,
) -> StepReport:
    """Draw every item under seeds 0 to `seeds` - 1.

    Raises AnotherDriver, DiskReserve, ConservationError, and FlywheelError for weights that cannot be loaded.
    """
    return drive(workspace, partial(_plan, workspace, generator, enrolled, seeds), executor, LAW, progress)


def _plan(workspace: Workspace, generator: Generator, enrolled: Sequence[Enrolled], seeds: int) -> Step:
    config_hash = config_hash_of({"checkpoint": generator.checkpoint_id, "sampler": generator.sampler_json})
    wanted = [
        Request(item_id=one.item.item_id, prompt=one.item.prompt, references=one.references, seed=seed)
        for one in enrolled
        for seed in range(seeds)
    ]
    there, tried = _there(workspace, generator.checkpoint_id), attempts(workspace, STEP, config_hash)
    distinct = list({generation_id(generator, one): one for one in wanted}.values())
    # Cut first and then left out: in the last digit a picture depends on its neighbours, and a resumed run has the same.
    batches = [
        [
            replace(one, attempt=1 + tried.get(key, 0))
            for one in batch
            if (key := generation_id(generator, one)) not in there
        ]
        for batch in batched(distinct, BATCH)
    ]
    return Step(
        name=STEP,
        config_hash=config_hash,
        batches=[batch for batch in batches if batch],
        task=sending_task(workspace.config.ingest.budgets, partial(drawn, generator=generator)),
        settle=partial(_settle, kept_pictures(workspace), generator, config_hash),
        total=sum(map(len, batches)),
        detail={"checkpoint": generator.checkpoint_id},
    )


def _there(workspace: Workspace, checkpoint_id: str) -> frozenset[str]:
    """Generations that are written, those of a torn micro-batch too: a row is as good without its outcome."""
    sql = f"SELECT generation_id FROM generations WHERE checkpoint_id = '{checkpoint_id}'"
    return frozenset(workspace.query(sql)["generation_id"].to_pylist())


def drawn(requests: Sequence[Request], sandbox: Sandbox[Any, Any], generator: Generator) -> list[bytes | Failure]:
    """What a worker does with a micro-batch: references from its child, pictures from the network, alike ones together."""
    answers: list[bytes | Failure | None] = [None] * len(requests)
    alike: dict[int, list[tuple[int, list[bytes]]]] = defaultdict(list)
    for at, request in enumerate(requests):
        seen = list(sandbox.run(request.references)) if request.references else []
        whole = [one for one in seen if not isinstance(one, Failure)]
        if len(whole) < len(seen):
            answers[at] = next(one for one in seen if isinstance(one, Failure))
        else:
            alike[len(whole)].append((at, whole))
    for group in alike.values():
        pictures = generator.drawn([requests[at] for at, _ in group], [seen for _, seen in group])
        for (at, _), picture in zip(group, pictures, strict=True):
            answers[at] = picture
    return [one for one in answers if one is not None]


def _settle(kept: Kept, generator: Generator, config_hash: str, batch: Batch, answers: Answers) -> Settled:
    done: list[EndedRow] = []
    generations, counts = [], Counter[str]()
    for request, answer in zip(batch, answers, strict=True):
        failure = answer if isinstance(answer, Failure) else None
        status = failure.status if failure else Status.OK
        done.append((generation_id(generator, request), request.attempt, status, failure))
        counts.update({"in": 1, str(status) if failure else "drawn": 1})
        if failure is None:
            generations.append(_generation(generator, request, content_id(answer)))
    tables = {
        "pictures": kept.added([one for one in answers if not isinstance(one, Failure)]),
        "generations": pa.Table.from_pylist(generations, schema=TABLES["generations"].schema),
    }
    return Settled(tables, outcome_rows(STEP, config_hash, done), counts)


def _generation(generator: Generator, request: Request, image_id: str) -> dict[str, Any]:
    return {
        "generation_id": generation_id(generator, request),
        "checkpoint_id": generator.checkpoint_id,
        "item_id": request.item_id,
        "prompt": request.prompt,
        "reference_ids": [one.image_id for one in request.references],
        "seed": request.seed,
        "sampler_json": generator.sampler_json,
        "image_id": image_id,
    }
