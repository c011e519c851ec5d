"""Search: images by words, by a picture, by both rankings at once; spread out, one of each duplicate group, apart from a set."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from flywheel.encoders.clip import open_clip_from
from flywheel.errors import UsageError
from flywheel.images.sandbox import Sandbox
from flywheel.images.views import RGB
from flywheel.records import Failure
from flywheel.seeds import content_id
from flywheel.workspace import Workspace
from pipelines.decoding import FitContext
from pipelines.embedding import Encoders, encoders_of, require_encoders
from pipelines.indexing import folder_of, lag
from retrieval.fusion import apart, diverse, fused, one_a_group
from retrieval.texts import TextIndex
from retrieval.vectors import VectorIndex

Mode = Literal["vector", "text", "hybrid"]
_DEEPER = 4  # candidates a wanted result, from which diversity, duplicates and fusion choose; our choice
CONTAMINATED_FROM = 0.95  # cosine to a forbidden image from which one counts as the same picture; our choice


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is searched. Words, a picture's bytes, or both; `only` restricts to images, `apart_from` keeps away from some."""

    words: str | None = None
    picture: bytes | None = None
    k: int = 20
    mode: Mode | None = None
    diverse: bool = False
    only: Collection[str] | None = None
    apart_from: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """`cosine` where vectors were compared; `score` is what the ranking is by."""

    image_id: str
    score: float
    cosine: float | None
    uri: str
    caption: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Hits, best first, and the commits a table that the index does not know yet."""

    mode: Mode
    hits: tuple[Hit, ...]
    lag: Mapping[str, int]


def search(workspace: Workspace, wanted: Wanted) -> Answer:
    """Raises UsageError for a search that asks for nothing, FlywheelError where there is no model for it."""
    mode = _mode(workspace, wanted)
    ranked, cosines = _ranked(workspace, wanted, mode)
    ranked = _chosen(workspace, wanted, ranked)
    return Answer(mode=mode, hits=tuple(_hits(workspace, ranked[: wanted.k], cosines)), lag=lag(workspace))


def asked_in(workspace: Workspace, failure_id: str) -> str:
    """The prompt of a failure: what a model should have made is what training data must show.

    Raises UsageError for a failure that is not there, or one whose prompt is not known.
    """
    rows = workspace.query(
        "SELECT prompt FROM failures JOIN wanted USING (failure_id)",
        wanted=pa.table({"failure_id": pa.array([failure_id], pa.string())}),
    ).to_pylist()
    if not rows:
        (there,) = workspace.query("SELECT count(*) AS n FROM failures").to_pylist()
        raise UsageError(f"no failure {failure_id!r} among the {there['n']} of this workspace")
    if not rows[0]["prompt"]:
        raise UsageError(f"failure {failure_id!r} has no prompt to search by")
    return str(rows[0]["prompt"])


def _mode(workspace: Workspace, wanted: Wanted) -> Mode:
    if not (wanted.words and wanted.words.strip()) and wanted.picture is None:
        raise UsageError("say what to search: words, --image or --failure")
    if wanted.mode is not None:
        if wanted.mode != "vector" and not wanted.words:
            raise UsageError(f"mode {wanted.mode} searches words; give some")
        return wanted.mode
    if not wanted.words:
        return "vector"
    return "hybrid" if encoders_of(workspace) is not None else "text"


def _ranked(workspace: Workspace, wanted: Wanted, mode: Mode) -> tuple[list[tuple[str, float]], dict[str, float]]:
    """(image, score) best first, and the cosines that were computed on the way."""
    folder, deep = str(folder_of(workspace)), wanted.k * _DEEPER
    by_words = [] if mode == "vector" else TextIndex(folder).find(wanted.words or "", deep, wanted.only)
    if mode == "text":
        return by_words, {}
    encoders = require_encoders(workspace)
    near = _vectors(workspace, encoders).nearest(_query(workspace, encoders, wanted), deep, wanted.only)
    if mode == "vector":
        return near, dict(near)
    return fused([[one for one, _ in near], [one for one, _ in by_words]]), dict(near)


def _query(workspace: Workspace, encoders: Encoders, wanted: Wanted) -> Any:
    """The vector of what is searched; of words and a picture their mean."""
    encoder, parts = open_clip_from(encoders.folder), []
    if wanted.picture is not None:
        held = _vectors(workspace, encoders)
        image_id = content_id(wanted.picture)
        if image_id in held.ids():
            parts.append(held.vectors([image_id])[0])
        else:
            parts.append(encoder.images([_seen(workspace, encoders, wanted.picture)])[0])
    if wanted.words:
        parts.append(encoder.texts([wanted.words])[0])
    mean = np.mean(parts, axis=0)
    return (mean / np.linalg.norm(mean)).astype(np.float32)


def _seen(workspace: Workspace, encoders: Encoders, picture: bytes) -> RGB:
    """A picture from outside, decoded where it can do no harm."""
    budgets = workspace.config.ingest.budgets
    context = FitContext(budgets=budgets, fit=encoders.clip.fit)
    sandbox: Sandbox[bytes, RGB] = Sandbox(
        "pipelines.decoding:fitted_bytes",
        memory_bytes=budgets.child_memory_bytes,
        item_s=budgets.decode_s,
        context=context,
    )
    with sandbox:
        (view,) = sandbox.run([picture])
    if isinstance(view, Failure):
        raise UsageError(f"the picture to search by cannot be read: {view.detail}")
    return view


def _chosen(workspace: Workspace, wanted: Wanted, ranked: list[tuple[str, float]]) -> list[tuple[str, float]]:
    """One of each duplicate group, away from what is forbidden, spread out where that was asked."""
    scores = dict(ranked)
    kept = one_a_group([one for one, _ in ranked], _groups(workspace))
    encoders = encoders_of(workspace)
    if encoders is not None and kept and (wanted.apart_from or wanted.diverse):
        held = _vectors(workspace, encoders)
        there = held.ids()
        seen = [one for one in kept if one in there]
        vectors = held.vectors(seen)
        if wanted.apart_from:
            forbidden = held.vectors([one for one in wanted.apart_from if one in there])
            clean = apart(vectors, forbidden, CONTAMINATED_FROM)
            seen, vectors = [one for one, good in zip(seen, clean, strict=True) if good], vectors[clean]
        if wanted.diverse:
            seen = [seen[at] for at in diverse(_relevance(seen, scores), vectors, wanted.k)]
        kept = seen
    return [(one, scores[one]) for one in kept]


def _relevance(ids: Sequence[str], scores: Mapping[str, float]) -> Any:
    """Scores on the scale of cosines, 0..1: ranks and BM25 have others."""
    values = np.array([scores[one] for one in ids])
    return values / values.max() if len(values) and values.max() > 0 else values


def _groups(workspace: Workspace) -> Mapping[str, str]:
    rows = workspace.query("SELECT image_id, representative_id FROM duplicate_groups").to_pylist()
    return {row["image_id"]: row["representative_id"] for row in rows}


def _vectors(workspace: Workspace, encoders: Encoders) -> VectorIndex:
    return VectorIndex(str(folder_of(workspace)), encoders.clip.model_id, encoders.clip.dims)


def _hits(workspace: Workspace, ranked: Sequence[tuple[str, float]], cosines: Mapping[str, float]) -> list[Hit]:
    rows = workspace.query(
        "SELECT i.image_id, i.uri, coalesce(c.text, s.caption) AS caption FROM images i "
        "JOIN wanted ON i.image_id = id LEFT JOIN sources s ON s.source_id = i.source_id "
        "LEFT JOIN (SELECT image_id, any_value(text) AS text FROM captions WHERE kind = 'general' GROUP BY 1) c "
        "ON c.image_id = i.image_id",
        wanted=pa.table({"id": pa.array([one for one, _ in ranked], pa.string())}),
    ).to_pylist()
    told = {row["image_id"]: row for row in rows}
    return [
        Hit(image_id=one, score=score, cosine=cosines.get(one), uri=told[one]["uri"], caption=told[one]["caption"])
        for one, score in ranked
        if one in told  # forgotten since it was indexed
    ]
