"""Embed: one pass over each image that the caption-free rules leave gives its vector, and from it taste, safety, watermark.

The child decodes and resizes, the worker runs the network over what came back. Pictures that these weights do not know are
told apart by a head of their own and abstained from: no vector, no number, and the outcome says why.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import pyarrow as pa

from filters.scorers import SCORERS
from filters.semantic_keys import semantic_keys
from flywheel.encoders.clip import ClipFolder, describe, open_clip_from
from flywheel.encoders.heads import Head, load_head
from flywheel.errors import FlywheelError
from flywheel.images.sandbox import Sandbox
from flywheel.records import Failure, Reason
from flywheel.schemas import TABLES
from flywheel.workspace import Workspace
from pipelines.decoding import FitContext, MeasureItem
from pipelines.engine import Progress, Settled, Step, StepReport, batched, config_hash_of, drive, outcome_rows
from pipelines.executors import Answers, Batch, Executor, Task
from pipelines.lacking import ended, lacking
from pipelines.measure import SURVIVES
from pipelines.profiles import find_weights, recipe_of

STEP = "embed"
LAW = ("embedded", "rejected", "quarantined")
VECTOR = "vector"
# The chance from which a picture counts as foreign. Of 1,600 clean pictures of the world one is, of 149 photographs 113.
FOREIGN_FROM = 0.7
_AT_ONCE = 64  # pictures through the network at once; our choice
_ENCODING = Lock()  # one network a process: its threads use every core already


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoders:
    """The weights of one pass, by name and place. Picklable: a worker elsewhere loads them itself."""

    folder: Path
    clip: ClipFolder
    heads: Mapping[str, tuple[str, Path]]  # scorer -> (its version: the head's name, where it lies)
    foreign: Path | None

    @property
    def versions(self) -> dict[str, str]:
        return {VECTOR: self.clip.model_id, **{name: version for name, (version, _) in self.heads.items()}}


def encoders_of(workspace: Workspace) -> Encoders | None:
    """What the workspace's recipe names and this machine has; None without a CLIP model.

    Raises FlywheelError for weights that are there and cannot be read.
    """
    recipe = recipe_of(workspace)
    folder = find_weights(recipe.clip)
    if folder is None:
        return None
    found = {name: find_weights(head) for name, head in recipe.heads.items()}
    heads = {name: (str(recipe.heads[name]), path) for name, path in found.items() if path is not None}
    return Encoders(folder=folder, clip=describe(folder), heads=heads, foreign=find_weights(recipe.foreign))


def embed(workspace: Workspace, executor: Executor, progress: Progress, *, retry: bool = False) -> StepReport:
    """Fill in vectors and scores that images lack from the models at hand; without a model nothing is done.

    Raises AnotherDriver, DiskReserve, ConservationError, FlywheelError for unreadable weights.
    """
    encoders = encoders_of(workspace)
    if encoders is None:
        return StepReport(STEP, None, {}, why=missing(workspace))
    return drive(workspace, partial(_plan, workspace, encoders, retry), executor, LAW, progress)


def _plan(workspace: Workspace, encoders: Encoders, retry: bool) -> Step:
    config_hash = config_hash_of({**encoders.versions, "foreign": encoders.foreign.name if encoders.foreign else ""})
    budgets = workspace.config.ingest.budgets
    items = lacking(workspace, STEP, config_hash, _has(encoders), only=SURVIVES, retry=retry)
    return Step(
        name=STEP,
        config_hash=config_hash,
        batches=batched(items, workspace.config.run.micro_batch),
        task=Task(
            item="pipelines.decoding:fitted_item",
            context=FitContext(budgets=budgets, fit=encoders.clip.fit),
            memory_bytes=budgets.child_memory_bytes,
            item_s=budgets.decode_s,
            around=partial(encoded, encoders=encoders),
        ),
        settle=partial(_settle, encoders, config_hash),
        total=len(items),
        detail={"models": encoders.versions},
    )


def _has(encoders: Encoders) -> dict[str, str]:
    """SQL of the images that have a vector, and that each head has rated, by the weights at hand."""
    vectors = (
        f"SELECT subject_id FROM embeddings WHERE subject_kind = 'image' AND model_id = '{encoders.clip.model_id}'"
    )
    return {VECTOR: vectors} | {
        name: f"SELECT image_id FROM score_{name} WHERE version = '{version}'"
        for name, (version, _) in encoders.heads.items()
    }


def encoded(
    items: Sequence[MeasureItem], sandbox: Sandbox[Any, Any], encoders: Encoders
) -> list[Mapping[str, Any] | Failure]:
    """What a worker does with a micro-batch: pictures from its child, vectors and numbers from the network."""
    answers: list[Mapping[str, Any] | Failure] = []
    for start in range(0, len(items), _AT_ONCE):
        seen = list(sandbox.run(items[start : start + _AT_ONCE]))
        told = iter(_told([picture for picture in seen if not isinstance(picture, Failure)], encoders))
        answers += [picture if isinstance(picture, Failure) else next(told) for picture in seen]
    return answers


def _told(pictures: Sequence[Any], encoders: Encoders) -> list[Mapping[str, Any] | Failure]:
    with _ENCODING:
        vectors = open_clip_from(encoders.folder).images(pictures)
    foreign = np.zeros(len(vectors))
    if encoders.foreign is not None:
        foreign = _head(encoders.foreign, encoders.clip.dims).chances(vectors)
    numbers = {name: _number(name, path, vectors, encoders.clip.dims) for name, (_, path) in encoders.heads.items()}
    return [
        Failure(Reason.OUT_OF_DOMAIN, f"{encoders.clip.model_id} was not made for such a picture ({foreign[at]:.2f})")
        if foreign[at] >= FOREIGN_FROM
        else {VECTOR: vectors[at].astype(np.float16), **{name: float(values[at]) for name, values in numbers.items()}}
        for at in range(len(vectors))
    ]


def _number(name: str, path: Path, vectors: Any, dims: int) -> Any:
    head = _head(path, dims)
    return np.clip(head.scores(vectors), 1, 10) if name == "aesthetic" else head.chances(vectors)


@cache
def _head(path: Path, dims: int) -> Head:
    return load_head(path, dims)


def _settle(encoders: Encoders, config_hash: str, batch: Batch, answers: Answers) -> Settled:
    rows: dict[str, list[dict[str, Any]]] = {"embeddings": [], **{f"score_{name}": [] for name in encoders.heads}}
    for item, answer in zip(batch, answers, strict=True):
        if isinstance(answer, Failure):
            continue
        if VECTOR in item.scorers:
            row = vector_row(item.image_id, "image", encoders.clip.model_id, answer[VECTOR])
            rows["embeddings"].append(row | {"keys": semantic_keys(row["vector"][None])[0]})
        for name, (version, _) in encoders.heads.items():
            if name in item.scorers:
                rows[f"score_{name}"].append({"image_id": item.image_id, "version": version, name: answer[name]})
    done, counts = ended(batch, answers, "embedded")
    tables = {name: pa.Table.from_pylist(found, schema=_schema(name)) for name, found in rows.items()}
    return Settled(tables, outcome_rows(STEP, config_hash, done), counts)


def vector_row(subject_id: str, kind: str, model_id: str, vector: Any) -> dict[str, Any]:
    """A row of `embeddings`, at the precision that is kept."""
    kept = np.asarray(vector, dtype=np.float16).astype(np.float32)
    return {"subject_id": subject_id, "subject_kind": kind, "model_id": model_id, "vector": kept}


def _schema(name: str) -> pa.Schema:
    return TABLES[name].schema if name in TABLES else SCORERS[name.removeprefix("score_")].table.schema


def require_encoders(workspace: Workspace) -> Encoders:
    """Raises FlywheelError, saying what to do, where the workspace has no CLIP model."""
    encoders = encoders_of(workspace)
    if encoders is None:
        raise FlywheelError(missing(workspace))
    return encoders


def missing(workspace: Workspace) -> str:
    """Why there are no vectors, and what to do."""
    name = recipe_of(workspace).clip
    what = f"{name} is not on this machine" if name else "this workspace names no CLIP model"
    return f"{what}: `flywheel doctor` prints the line that mends it"
