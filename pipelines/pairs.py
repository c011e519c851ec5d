"""Edit pairs: a JSONL of references, target and instruction becomes `pairs`, each with its consistency.

The subject of an outcome is the line's place in its listing, so that the last word on a place is that of its last
attempt: a line that was refused until its images were ingested, or until it was mended, is no longer among the
rejects. What a pair is, and whether it is known, follows from its images and its instruction alone.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from filters.duplicates import THUMB_PX
from filters.pairs import PAIR_COUNTS, VERSION, Size, StagePairs, consistency, count_pairs
from filters.policy import Policy
from filters.scorers import SCORERS
from flywheel.errors import SourceError
from flywheel.records import Failure, Reason, Status
from flywheel.schemas import TABLES
from flywheel.seeds import stable_hash
from flywheel.workspace import Workspace
from flywheel.workspace.places import canonical_uri
from pipelines.engine import Progress, Settled, Step, StepReport, drive, outcome_rows
from pipelines.executors import Batch
from pipelines.executors.inline import InlineExecutor
from pipelines.judging import judging_views

STEP = "pairs"
LAW = ("new", "known", "rejected")
_BATCH = 1024
_MAX_DETAIL = 500
_MAX_LINE = 1 << 20
_ID_CHARS = 64

# The names under which listings in use keep the three parts; where a line has several, the first counts. Our choice.
REFERENCES = ("references", "reference", "image", "input", "source")
TARGET = ("target", "edited", "output")
INSTRUCTION = ("instruction", "text", "prompt", "edit")

Thumbs = Mapping[str, tuple[np.ndarray, Size]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    """One line of the listing, as a pair; `failure` when it names none of this workspace.

    `place` is its subject, `made_of` the key under which it is complete. `old` says that `pairs` has the pair already,
    `scored` that `pair_scores` has, `repeats` that an earlier line of this run writes it.
    """

    place: str
    pair_id: str = ""
    references: tuple[str, ...] = ()
    target: str = ""
    instruction: str = ""
    failure: Failure | None = None
    made_of: str = ""
    attempt: int = 1
    old: bool = False
    scored: bool = False
    repeats: bool = False


def add_pairs(workspace: Workspace, listing: Path, dataset: str, progress: Progress) -> StepReport:
    """Add the pairs of a JSONL file: {"references": [...], "target": ..., "instruction": ...}, or other names.

    Images are named by image_id or by the path or URI at which they were ingested; paths are relative to
    the file. Ends as new, known or rejected (BAD_LISTING, MISSING); rejected lines are looked at again each time.
    Raises SourceError when the file cannot be read.
    """
    try:
        lines = listing.read_bytes().splitlines()
    except OSError as error:
        raise SourceError(f"cannot read {listing}: {error.strerror}") from error
    return drive(workspace, partial(_plan, workspace, lines, listing, dataset), InlineExecutor(), LAW, progress)


def pairs_under(workspace: Workspace, policy: Policy) -> tuple[StagePairs, ...]:
    """How many pairs each stage from 2 keeps, drops and cannot judge under a policy.

    Raises ConservationError when a stage does not account for every pair.
    """
    pairs = workspace.query("SELECT count(*) AS n FROM pairs")["n"][0].as_py()
    cells = workspace.query(PAIR_COUNTS, judging_views(workspace, policy)).to_pylist()
    return count_pairs(cells, pairs)


def _plan(workspace: Workspace, lines: Sequence[bytes], listing: Path, dataset: str) -> Step:
    images = _Images(workspace, listing)
    parsed = [_parse(line, number, listing, images) for number, line in enumerate(lines, 1) if line.strip()]
    planned: Counter[str] = Counter()
    todo = list(_unsettled(workspace, parsed, planned))
    thumbs = _thumbs(workspace, todo)
    return Step(
        name=STEP,
        config_hash=_made_of(scorable=True),
        batches=(todo[start : start + _BATCH] for start in range(0, len(todo), _BATCH)),
        task=None,
        settle=lambda batch, _: _settle(batch, thumbs, dataset),
        total=len(parsed),
        detail={"listing": str(listing), "dataset": dataset},
        planned=planned,
    )


class _Images:
    """The images of a workspace by the names that a listing may use."""

    def __init__(self, workspace: Workspace, listing: Path) -> None:
        rows = workspace.query("SELECT uri, image_id FROM sources WHERE image_id IS NOT NULL ORDER BY ALL").to_pydict()
        self._places = dict(zip(rows["uri"], rows["image_id"], strict=True))
        self._ids = frozenset(rows["image_id"])
        self._folder = listing.absolute().parent

    def find(self, name: str) -> str | None:
        if name in self._ids:
            return name
        return self._places.get(name if "://" in name else canonical_uri(str(self._folder / name)))


def _parse(line: bytes, number: int, listing: Path, images: _Images) -> _Line:
    place = stable_hash([canonical_uri(str(listing.absolute())), number], _ID_CHARS)

    def refused(reason: Reason, why: str) -> _Line:
        return _Line(place=place, failure=Failure(reason, f"{listing.name}, line {number}: {why}"[:_MAX_DETAIL]))

    try:
        row = json.loads(line) if len(line) <= _MAX_LINE else None
    except ValueError:
        row = None
    if not isinstance(row, dict):
        return refused(Reason.BAD_LISTING, "not a JSON object")
    references, target, instruction = (_part(row, names) for names in (REFERENCES, TARGET, INSTRUCTION))
    names = [*(references if isinstance(references, list) else [references]), target]
    if len(names) < 2 or not all(_is_text(text) for text in [*names, instruction]):
        return refused(Reason.BAD_LISTING, "needs references, target and instruction, none of them empty")
    ids = [images.find(name) for name in names]
    if missing := [name for name, image in zip(names, ids, strict=True) if image is None]:
        return refused(Reason.MISSING, f"not ingested here: {', '.join(missing[:3])}")
    known = [str(image) for image in ids]
    identity = stable_hash([known, instruction], _ID_CHARS)
    return _Line(
        place=place, pair_id=identity, references=tuple(known[:-1]), target=known[-1], instruction=str(instruction)
    )


def _part(row: Mapping[str, Any], names: Sequence[str]) -> Any:
    return next((row[name] for name in names if row.get(name) is not None), None)


def _is_text(value: Any) -> bool:
    """A string that says something and that a table can hold: JSON also writes halves of surrogate pairs."""
    return isinstance(value, str) and bool(value.strip()) and not any("\ud800" <= sign <= "\udfff" for sign in value)


def _unsettled(workspace: Workspace, lines: Sequence[_Line], planned: Counter[str]) -> Iterator[_Line]:
    """The lines whose last word does not hold any more, or not yet; the others are counted as they stand."""
    last = {
        row["subject_id"]: row
        for row in workspace.query(f"SELECT * FROM last_outcomes WHERE step = '{STEP}'").to_pylist()
    }
    old = set(workspace.query("SELECT pair_id FROM pairs")["pair_id"].to_pylist())
    scored = set(workspace.query(f"SELECT pair_id FROM pair_scores WHERE version = '{VERSION}'")["pair_id"].to_pylist())
    measured = _measured(workspace, lines)
    taken: set[str] = set()
    for line in lines:
        before = last.get(line.place)
        scorable = line.target in measured and not measured.isdisjoint(line.references)
        now = replace(
            line,
            made_of=_made_of(scorable=scorable),
            attempt=before["attempt"] + 1 if before else 1,
            old=line.pair_id in old,
            scored=line.pair_id in scored,
            repeats=line.pair_id in taken,
        )
        if line.failure is None:
            taken.add(line.pair_id)
        if before is not None and _holds(now, before, scorable):
            planned.update(_counted(now))
        else:
            yield now


def _holds(line: _Line, before: Mapping[str, Any], scorable: bool) -> bool:
    """Whether the last word on a line's place is what would be said of it again."""
    failure = line.failure
    if failure is not None:
        return (before["status"], before["reason"], before["detail"]) == (
            failure.status,
            failure.reason,
            failure.detail,
        )
    complete = line.old and (line.scored or not scorable)
    return complete and before["status"] == Status.OK and before["config_hash"] == line.made_of


def _counted(line: _Line) -> Counter[str]:
    if line.failure is not None:
        return Counter({"in": 1, "rejected": 1, f"rejected:{line.failure.reason}": 1})
    return Counter({"in": 1, "known" if line.old or line.repeats else "new": 1})


def _made_of(*, scorable: bool) -> str:
    """The key under which a line is complete: its score is made of two thumbnails of one version, where they exist."""
    return f"{VERSION} of {SCORERS['phash'].version if scorable else 'no thumbnails'}"


def _wanted(lines: Sequence[_Line]) -> pa.Table:
    images = sorted({image for line in lines for image in (*line.references, line.target) if image})
    return pa.table({"image_id": images}, schema=pa.schema([("image_id", pa.string())]))


def _measured(workspace: Workspace, lines: Sequence[_Line]) -> frozenset[str]:
    rows = workspace.query(
        f"SELECT image_id FROM wanted JOIN score_phash USING (image_id) WHERE version = '{SCORERS['phash'].version}'",
        wanted=_wanted(lines),
    )
    return frozenset(rows["image_id"].to_pylist())


def _thumbs(workspace: Workspace, lines: Sequence[_Line]) -> Thumbs:
    rows = workspace.query(
        "SELECT p.image_id, p.thumb, i.width_px, i.height_px FROM wanted JOIN score_phash p USING (image_id) "
        f"JOIN images i USING (image_id) WHERE p.version = '{SCORERS['phash'].version}'",
        wanted=_wanted(lines),
    ).to_pylist()
    side = THUMB_PX
    return {
        row["image_id"]: (
            np.frombuffer(row["thumb"], np.uint8, side * side).reshape(side, side),
            (row["width_px"], row["height_px"]),
        )
        for row in rows
    }


def _settle(batch: Batch, thumbs: Thumbs, dataset: str) -> Settled:
    """The first line of a pair writes it; scores that are there, of other thumbnails or from a killed run, go first."""
    lines: list[_Line] = list(batch)
    first = [line for line in lines if line.failure is None and not line.repeats]
    rows = [
        {
            "pair_id": line.pair_id,
            "reference_ids": list(line.references),
            "target_id": line.target,
            "instruction": line.instruction,
            "dataset": dataset,
        }
        for line in first
        if not line.old
    ]
    scores = [
        {"pair_id": line.pair_id, "version": VERSION, **score} for line in first for score in _scores(line, thumbs)
    ]
    stale = [{"pair_id": line.pair_id, "version": VERSION} for line in first if line.scored]
    tables = {
        "pair_scores": pa.Table.from_pylist(scores, schema=TABLES["pair_scores"].schema),
        "pairs": pa.Table.from_pylist(rows, schema=TABLES["pairs"].schema),
    }
    counts: Counter[str] = Counter()
    for line in lines:
        counts.update(_counted(line))
    replaced = {"pair_scores": pa.Table.from_pylist(stale)} if stale else {}
    return Settled(tables, _outcomes(lines), counts, replaced)


def _outcomes(lines: Sequence[_Line]) -> pa.Table:
    done: defaultdict[str, list[tuple[str, int, Status, Failure | None]]] = defaultdict(list)
    for line in lines:
        status = line.failure.status if line.failure else Status.OK
        done[line.made_of].append((line.place, line.attempt, status, line.failure))
    return pa.concat_tables([outcome_rows(STEP, key, ended) for key, ended in done.items()])


def _scores(line: _Line, thumbs: Thumbs) -> Iterator[dict[str, Any]]:
    """With several references the closest counts: the target edits one of them."""
    if line.target not in thumbs:
        return
    target, size = thumbs[line.target]
    found = [
        consistency(thumb, target, (reference_size, size))
        for thumb, reference_size in (thumbs[name] for name in line.references if name in thumbs)
    ]
    if found:
        best = max(found, key=lambda score: score.consistency)
        yield {"consistency": best.consistency, "changed_area": best.changed_area}
