"""Align: how well an image and each of its captions agree, from stored vectors; no pixel is read.

Captions that came with an image (`raw`) are held to it like those that were written for it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from flywheel.encoders.clip import open_clip_from
from flywheel.records import Status
from flywheel.schemas import TABLES
from flywheel.seeds import stable_hash
from flywheel.workspace import Workspace
from pipelines.embedding import Encoders, encoders_of, missing, vector_row
from pipelines.engine import Progress, Settled, Step, StepReport, batched, drive, outcome_rows
from pipelines.executors import Answers, Batch
from pipelines.executors.inline import InlineExecutor

STEP = "align"
LAW = ("aligned",)
RAW = "raw"
# Vectors of so many images are read at once: a table of vectors is scanned once for each time. Our choice.
_READ_AT_ONCE = 8192


def align(workspace: Workspace, progress: Progress) -> StepReport:
    """Hold captions to their images where that was not done yet; without a CLIP model nothing is done.

    Raises AnotherDriver, DiskReserve, ConservationError.
    """
    encoders = encoders_of(workspace)
    if encoders is None:
        return StepReport(STEP, None, {}, why=missing(workspace))
    return drive(workspace, partial(_plan, workspace, encoders), InlineExecutor(), LAW, progress)


def raw_caption_id(image_id: str, text: str) -> str:
    """The id of the caption that came with an image."""
    return stable_hash([image_id, RAW, text], 32)


def _plan(workspace: Workspace, encoders: Encoders) -> Step:
    model_id = encoders.clip.model_id
    pending = _pending(workspace, model_id)
    return Step(
        name=STEP,
        config_hash=model_id,
        batches=_batches(workspace, model_id, pending, workspace.config.run.micro_batch),
        task=None,
        settle=partial(_settle, encoders),
        total=len(pending),
        detail={"models": {"clip": model_id}},
    )


def _pending(workspace: Workspace, model_id: str) -> list[dict[str, Any]]:
    """Captions of embedded images without a completed row. What a torn micro-batch has written is marked.

    Images that were seen at several places have the raw caption of the sighting that brought them in.
    """
    rows = workspace.query(
        "WITH told AS (SELECT image_id, caption_id, kind, text FROM captions UNION ALL "
        "SELECT i.image_id, NULL, 'raw', s.caption FROM images i JOIN sources s ON s.source_id = i.source_id "
        "WHERE trim(s.caption) <> ''), "
        f"seen AS (SELECT subject_id FROM embeddings WHERE subject_kind = 'image' AND model_id = '{model_id}') "
        "SELECT * FROM told SEMI JOIN seen ON image_id = subject_id ORDER BY image_id, kind, caption_id"
    ).to_pylist()
    for row in rows:
        row["caption_id"] = row["caption_id"] or raw_caption_id(row["image_id"], row["text"])
    ended = _column(
        workspace, f"SELECT subject_id AS id FROM outcomes WHERE step = '{STEP}' AND config_hash = '{model_id}'"
    )
    told = _column(workspace, f"SELECT caption_id AS id FROM alignment WHERE model_id = '{model_id}'")
    vectors = _column(
        workspace, f"SELECT subject_id AS id FROM embeddings WHERE subject_kind = 'caption' AND model_id = '{model_id}'"
    )
    return [
        {**row, "told": row["caption_id"] in told, "embedded": row["caption_id"] in vectors}
        for row in rows
        if row["caption_id"] not in ended
    ]


def _column(workspace: Workspace, sql: str) -> frozenset[str]:
    return frozenset(workspace.query(sql)["id"].to_pylist())


def _batches(
    workspace: Workspace, model_id: str, pending: Sequence[Mapping[str, Any]], size: int
) -> Iterator[list[Mapping[str, Any]]]:
    for some in batched(pending, _READ_AT_ONCE):
        vectors = _vectors(workspace, model_id, {row["image_id"] for row in some})
        for batch in batched(some, size):
            yield [{**row, "vector": vectors[row["image_id"]]} for row in batch]


def _vectors(workspace: Workspace, model_id: str, image_ids: set[str]) -> dict[str, np.ndarray]:
    wanted = pa.table({"id": sorted(image_ids)})
    rows = workspace.query(
        "SELECT subject_id, vector FROM embeddings SEMI JOIN wanted ON subject_id = id "
        f"WHERE subject_kind = 'image' AND model_id = '{model_id}'",
        wanted=wanted,
    )
    return {
        name: np.asarray(vector.as_py(), np.float32)
        for name, vector in zip(rows["subject_id"].to_pylist(), rows["vector"], strict=True)
    }


def _settle(encoders: Encoders, batch: Batch, _: Answers) -> Settled:
    encoder, model_id = open_clip_from(encoders.folder), encoders.clip.model_id
    texts = encoder.texts([row["text"] for row in batch])
    rows: dict[str, list[dict[str, Any]]] = {"embeddings": [], "alignment": []}
    for row, text in zip(batch, texts, strict=True):
        kept = vector_row(row["caption_id"], "caption", model_id, text)
        if not row["embedded"]:
            rows["embeddings"].append(kept)
        if not row["told"]:
            cosine = float(np.dot(row["vector"], kept["vector"]))
            told = {
                "image_id": row["image_id"],
                "caption_id": row["caption_id"],
                "model_id": model_id,
                "cosine": cosine,
            }
            rows["alignment"].append({**told, "kind": row["kind"], "tokens": encoder.tokens(row["text"])})
    done = [(row["caption_id"], 1, Status.OK, None) for row in batch]
    return Settled(
        {name: pa.Table.from_pylist(found, schema=TABLES[name].schema) for name, found in rows.items()},
        outcome_rows(STEP, model_id, done),
        Counter({"in": len(batch), "aligned": len(batch)}),
    )
