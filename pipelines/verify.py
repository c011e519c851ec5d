"""Verify: do the originals that images refer to still hold their bytes?"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from flywheel.errors import FlywheelError
from flywheel.records import Locator
from flywheel.workspace import Workspace, runs
from flywheel.workspace.storage import StoredObject, describe
from pipelines.engine import Progress, conserve
from pipelines.originals import elsewhere, holds, is_copied, repoint, repointed, sightings_of

STEP = "verify"
LAW = ("intact", "re-pointed", "vanished", "changed")
_BATCH = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """An original that is not where or what it was. `problem` is vanished, changed or re-pointed."""

    image_id: str
    uri: str
    problem: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """`read` is how many originals were hashed whole; the others were known by size and time."""

    run_id: str
    counts: Mapping[str, int]
    read: int
    findings: tuple[Finding, ...]


@dataclass(slots=True)
class _Checker:
    """Looks at one image after another; asks about each file once."""

    workspace: Workspace
    sampled: frozenset[str] | None  # None: every one
    read: int = 0

    def look(self, row: Mapping[str, Any]) -> tuple[str, str]:
        """intact, vanished or changed, and why."""
        locator = Locator.of(row)
        try:
            stored = _described(locator.uri)
        except (OSError, FlywheelError) as error:
            return "vanished", type(error).__name__
        if not _fits(row, locator, stored):
            return "changed", f"{stored.size} bytes now"
        if self.sampled is not None and row["image_id"] not in self.sampled and self._settled(row, locator, stored):
            return "intact", ""
        self.read += 1
        return ("intact", "") if holds(row["image_id"], locator) else ("changed", "other bytes of the same size")

    def _settled(self, row: Mapping[str, Any], locator: Locator, stored: StoredObject) -> bool:
        """Whether the bytes need not be read. A pack is named by its content and never rewritten."""
        return is_copied(self.workspace, locator.uri) or _untouched(row, stored)


def verify(workspace: Workspace, progress: Progress, *, sample: int = 100, full: bool = False) -> Verification:
    """Look at every original: its size and time first; by sha256 where these differ, for a random
    `sample`, or for all with `full`. Points an image to another source where its bytes still are.

    Raises AnotherDriver, ConservationError.
    """
    run = runs.start(workspace, STEP, detail={"sample": sample, "full": full})
    with run.recorded({}):
        done = _verify(workspace, run, progress, None if full else sample)
    run.end("finished", done.counts, {"read": done.read})
    return done


def _verify(workspace: Workspace, run: runs.Run, progress: Progress, sample: int | None) -> Verification:
    rows = workspace.query(
        'SELECT i.image_id, i.uri, i.member, i."offset", i.length, i.bytes, s.fingerprint FROM images i '
        "LEFT JOIN sources s USING (source_id) ORDER BY i.uri, i.image_id"
    )
    total = rows.num_rows
    chosen = None
    if sample is not None:
        chosen = frozenset(random.sample(rows["image_id"].to_pylist(), min(sample, total)))
    checker = _Checker(workspace, chosen)
    _described.cache_clear()
    counts: Counter[str] = Counter()
    findings: list[Finding] = []
    for start in range(0, total, _BATCH):
        batch = rows.slice(start, _BATCH).to_pylist()
        amiss = [(row, *seen) for row in batch if (seen := checker.look(row))[0] != "intact"]
        found = list(_heal(workspace, amiss, run.run_id))
        findings += found
        counts.update({"in": len(batch), "intact": len(batch) - len(amiss)})
        counts.update(finding.problem for finding in found)
        run.heartbeat()
        progress(STEP, counts["in"], total, counts)
    conserve(STEP, counts, LAW)
    return Verification(run_id=run.run_id, counts=dict(counts), read=checker.read, findings=tuple(findings))


def _heal(workspace: Workspace, amiss: Sequence[tuple[dict[str, Any], str, str]], run_id: str) -> Iterator[Finding]:
    if not amiss:
        return
    sightings = sightings_of(workspace, [row["image_id"] for row, _, _ in amiss])
    healed = []
    findings = []
    for row, problem, detail in amiss:
        image_id = row["image_id"]
        there = elsewhere(image_id, sightings.get(image_id, []))
        if there is not None:
            healed.append(repointed(image_id, there[0].source_id, there[1]))
            problem, detail = "re-pointed", f"now read from {there[0].uri}"
        findings.append(Finding(image_id=image_id, uri=row["uri"], problem=problem, detail=detail))
    repoint(workspace, healed, run_id=run_id)
    yield from findings


@lru_cache(maxsize=4096)
def _described(uri: str) -> StoredObject:
    return describe(uri)


def _fits(row: Mapping[str, Any], locator: Locator, stored: StoredObject) -> bool:
    if stored.is_folder:
        return False
    if locator.offset is None or locator.length is None:
        return bool(stored.size == row["bytes"])
    return bool(stored.size >= locator.offset + locator.length and locator.length == row["bytes"])


def _untouched(row: Mapping[str, Any], stored: StoredObject) -> bool:
    """Whether size and time are those of the sighting."""
    return (row["fingerprint"] or "").split("@")[0] == stored.fingerprint
