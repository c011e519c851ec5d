"""Edit pairs: a JSONL of references, target and instruction becomes `pairs`, each with its consistency."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from filters.duplicates import THUMB_PX
from filters.pairs import VERSION, Size, consistency
from filters.scorers import SCORERS
from flywheel.errors import SourceError
from flywheel.records import Failure, Reason, Status
from flywheel.schemas import TABLES
from flywheel.seeds import stable_hash
from flywheel.workspace import Workspace
from flywheel.workspace.places import canonical_uri
from pipelines.engine import Progress, Settled, Step, StepReport, drive, outcome_rows
from pipelines.executors import Answers, Batch
from pipelines.executors.inline import InlineExecutor

STEP = "pairs"
LAW = ("new", "known", "rejected")
_BATCH = 256
_MAX_LINE = 1 << 20
_ID_CHARS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pair:
    """One line of the listing; `failure` when it names no images of this workspace."""

    pair_id: str
    references: tuple[str, ...] = ()
    target: str = ""
    instruction: str = ""
    failure: Failure | None = None


def add_pairs(workspace: Workspace, listing: Path, dataset: str, progress: Progress) -> StepReport:
    """Add the pairs of a JSONL file: {"references": [...], "target": ..., "instruction": ...}.

    Images are named by image_id or by the path or URI at which they were ingested; paths are relative to
    the file. Ends as new, known or rejected (BAD_LISTING, MISSING). Raises SourceError when the file cannot be read.
    """
    try:
        lines = listing.read_bytes().splitlines()
    except OSError as error:
        raise SourceError(f"cannot read {listing}: {error.strerror}") from error
    places = _places(workspace)
    parsed = [_parse(line, number, listing, places) for number, line in enumerate(lines, 1) if line.strip()]
    known = set(workspace.query(f"SELECT subject_id FROM outcomes WHERE step = '{STEP}'")["subject_id"].to_pylist())
    fresh = [pair for pair in dict.fromkeys(parsed) if pair.pair_id not in known]
    written = frozenset(workspace.query("SELECT pair_id FROM pairs")["pair_id"].to_pylist())
    thumbs = _thumbs(workspace, fresh)
    old = len(parsed) - len(fresh)
    step = Step(
        name=STEP,
        config_hash=VERSION,
        batches=(fresh[start : start + _BATCH] for start in range(0, len(fresh), _BATCH)),
        task=None,
        settle=lambda batch, answers: _settle(batch, answers, thumbs, written, dataset),
        total=len(parsed),
        detail={"listing": str(listing), "dataset": dataset},
        planned=Counter({"in": old, "known": old}),
    )
    return drive(workspace, step, InlineExecutor(), LAW, progress)


def _places(workspace: Workspace) -> Mapping[str, str]:
    rows = workspace.query("SELECT uri, image_id FROM sources WHERE image_id IS NOT NULL").to_pydict()
    return dict(zip(rows["uri"], rows["image_id"], strict=True))


def _parse(line: bytes, number: int, listing: Path, places: Mapping[str, str]) -> _Pair:
    where = stable_hash([str(listing.absolute()), number, line.decode("utf-8", "replace")], _ID_CHARS)

    def refused(reason: Reason, why: str) -> _Pair:
        return _Pair(pair_id=where, failure=Failure(reason, f"line {number}: {why}"))

    try:
        row = json.loads(line) if len(line) <= _MAX_LINE else None
    except ValueError:
        row = None
    if not isinstance(row, dict):
        return refused(Reason.BAD_LISTING, "not a JSON object")
    references, target, instruction = row.get("references"), row.get("target"), row.get("instruction")
    if isinstance(references, str):
        references = [references]
    if not (isinstance(references, list) and references and isinstance(target, str) and isinstance(instruction, str)):
        return refused(Reason.BAD_LISTING, "needs references, target and instruction")
    ids = [_image(str(name), listing, places) for name in [*references, target]]
    if missing := [name for name, image in zip([*references, target], ids, strict=True) if image is None]:
        return refused(Reason.MISSING, f"not ingested here: {', '.join(map(str, missing[:3]))}")
    known = tuple(str(image) for image in ids)
    identity = stable_hash([known, instruction], _ID_CHARS)
    return _Pair(pair_id=identity, references=known[:-1], target=known[-1], instruction=instruction)


def _image(name: str, listing: Path, places: Mapping[str, str]) -> str | None:
    if len(name) == _ID_CHARS and name in places.values():
        return name
    uri = name if "://" in name else canonical_uri(str(listing.absolute().parent / name))
    return places.get(uri)


def _thumbs(workspace: Workspace, pairs: Sequence[_Pair]) -> Mapping[str, tuple[np.ndarray, Size]]:
    wanted = pa.table(
        {"image_id": sorted({image for pair in pairs for image in (*pair.references, pair.target) if image})},
        schema=pa.schema([("image_id", pa.string())]),
    )
    rows = workspace.query(
        "SELECT p.image_id, p.thumb, i.width_px, i.height_px FROM wanted JOIN score_phash p USING (image_id) "
        f"JOIN images i USING (image_id) WHERE p.version = '{SCORERS['phash'].version}'",
        wanted=wanted,
    ).to_pylist()
    side = THUMB_PX
    return {
        row["image_id"]: (
            np.frombuffer(row["thumb"], np.uint8, side * side).reshape(side, side),
            (row["width_px"], row["height_px"]),
        )
        for row in rows
    }


def _settle(
    batch: Batch,
    _: Answers,
    thumbs: Mapping[str, tuple[np.ndarray, Size]],
    written: frozenset[str],
    dataset: str,
) -> Settled:
    good = [pair for pair in batch if pair.failure is None]
    fresh = [pair for pair in good if pair.pair_id not in written]
    rows = [
        {
            "pair_id": pair.pair_id,
            "reference_ids": list(pair.references),
            "target_id": pair.target,
            "instruction": pair.instruction,
            "dataset": dataset,
        }
        for pair in fresh
    ]
    scores = [
        {"pair_id": pair.pair_id, "version": VERSION, **score} for pair in fresh for score in _scores(pair, thumbs)
    ]
    done = [(pair.pair_id, 1, pair.failure.status if pair.failure else Status.OK, pair.failure) for pair in batch]
    tables = {
        "pair_scores": pa.Table.from_pylist(scores, schema=TABLES["pair_scores"].schema),
        "pairs": pa.Table.from_pylist(rows, schema=TABLES["pairs"].schema),
    }
    counts = Counter({"in": len(batch), "new": len(good), "rejected": len(batch) - len(good)})
    return Settled(tables, outcome_rows(STEP, VERSION, done), counts)


def _scores(pair: _Pair, thumbs: Mapping[str, tuple[np.ndarray, Size]]) -> Iterator[dict[str, Any]]:
    """With several references the closest counts: the target edits one of them."""
    if pair.target not in thumbs:
        return
    target, size = thumbs[pair.target]
    found = [
        consistency(thumb, target, (reference_size, size))
        for thumb, reference_size in (thumbs[name] for name in pair.references if name in thumbs)
    ]
    if found:
        best = max(found, key=lambda score: score.consistency)
        yield {"consistency": best.consistency, "changed_area": best.changed_area}
