"""Caption: up to four verified captions for each image that the caption-free rules leave.

A worker's child decodes and shrinks, the worker asks the model and verifies; what fails is asked again with another seed,
then quarantined with the reason. Outcomes are kept a kind (`caption.general` …), under the version of the captioner.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import pyarrow as pa

from captioners import CAPTIONERS, Given
from captioners.language import language_of
from flywheel.records import Failure, Locator, Reason, Status
from flywheel.schemas import TABLES
from flywheel.workspace import Workspace
from pipelines.asking import CaptionItem, Written, caption_id, captioned
from pipelines.captioner import Captioner, captioner_of
from pipelines.engine import EndedRow, Progress, Settled, Step, StepReport, batched, config_hash_of, drive, outcome_rows
from pipelines.executors import Answers, Batch, Executor
from pipelines.profiles import recipe_of
from pipelines.sending import sending_task
from pipelines.sheet import sheet_views

STEP = "caption"
LAW = ("captioned", "rejected", "quarantined")
BATCH = 32  # images, of up to four captions each; our choice: a batch is some seconds of a model's time
# Rules that read captions themselves. An image that another rule has dropped is not worth one.
_OF_CAPTIONS = ("clip", "token_length")


def caption(
    workspace: Workspace,
    executor: Executor,
    progress: Progress,
    *,
    kinds: Sequence[str] | None = None,
    retry: bool = False,
) -> StepReport:
    """Write the captions that images lack; without a captioner nothing is done.

    Raises ServerDown where nobody answers (the run can be resumed), AnotherDriver, DiskReserve, ConservationError.
    """
    captioner = captioner_of(workspace)
    if captioner is None:
        return StepReport(STEP, None, {}, why=_missing(workspace))
    chosen = tuple(kinds or workspace.config.captioner.kinds)
    return drive(workspace, partial(_plan, workspace, captioner, chosen, retry), executor, LAW, progress)


def _missing(workspace: Workspace) -> str:
    name = recipe_of(workspace).captioner
    what = f"{name} is neither served nor on this machine" if name else "this workspace names no captioner"
    return f"{what}: `flywheel doctor` prints the line that mends it"


def _plan(workspace: Workspace, captioner: Captioner, kinds: Sequence[str], retry: bool) -> Step:
    items = list(_lacking(workspace, captioner, kinds, retry))
    return Step(
        name=STEP,
        config_hash=config_hash_of({kind: captioner.version(kind) for kind in kinds}),
        batches=batched(items, BATCH),
        task=sending_task(
            workspace.config.ingest.budgets, partial(captioned, captioner=captioner), captioner.max_pixels
        ),
        settle=partial(_settle, captioner),
        total=sum(len(item.kinds) for item in items),
        detail={"captioner": captioner.name, "kinds": list(kinds)},
    )


def _lacking(workspace: Workspace, captioner: Captioner, kinds: Sequence[str], retry: bool) -> Iterator[CaptionItem]:
    """Images with the kinds that they should have and have not, in order of their ids."""
    ended, there = _ended(workspace, captioner, kinds), _written(workspace, captioner, kinds)
    again = {"quarantined"} if retry else set()
    for row in workspace.query(_candidates_sql(workspace, captioner), sheet_views(workspace)).to_pylist():
        given, image_id = _given(row), row["image_id"]
        last = {kind: ended.get((kind, image_id), (0, "")) for kind in kinds if CAPTIONERS[kind].serves(given)}
        wanted = tuple(kind for kind, (attempt, status) in last.items() if not attempt or status in again)
        if wanted:
            yield CaptionItem(
                image_id=image_id,
                locator=Locator.of(row),
                given=given,
                kinds=wanted,
                there=tuple(kind for kind in wanted if (kind, image_id) in there),
                attempt=1 + max(last[kind][0] for kind in wanted),
            )


def _candidates_sql(workspace: Workspace, captioner: Captioner) -> str:
    """Images that no caption-free rule of stage 1 drops, with all that a caption is held to.

    Where the weights at hand know what they do not know, only images that they know.
    """
    rules = ", ".join(f"'{rule}'" for rule in _OF_CAPTIONS)
    known = (
        "AND i.image_id IN (SELECT subject_id FROM last_outcomes WHERE step = 'embed' AND status = 'ok')"
        if recipe_of(workspace).foreign
        else ""
    )
    return (
        'SELECT i.image_id, i.uri, i.member, i."offset", i.length, s.domain, o.text AS read, '
        "o.script AS read_script, p.metadata_json->'$.facts' AS facts_json, g.text AS general "
        "FROM images i JOIN scores s USING (image_id) LEFT JOIN sources p ON p.source_id = i.source_id "
        f"LEFT JOIN (SELECT image_id, any_value(text) AS text FROM captions WHERE captioner = '{captioner.version('general')}' "
        "GROUP BY 1) g ON g.image_id = i.image_id "
        "LEFT JOIN score_ocr o ON o.image_id = i.image_id AND o.version = s.ocr_version "
        "WHERE i.image_id NOT IN (SELECT image_id FROM verdicts WHERE stage = 1 AND verdict = 'dropped' "
        f"AND rule NOT IN ({rules})) {known} ORDER BY i.image_id"
    )


def _given(row: Mapping[str, Any]) -> Given:
    readable = row["read"] and row["read_script"] not in (None, "unread")
    read = row["read"] if readable else None
    return Given(domain=row["domain"], read=read, facts=_facts(row["facts_json"]), general=row["general"])


def _facts(text: str | None) -> Mapping[str, str | int | float]:
    """Plain values under names; whatever else somebody's metadata holds is no fact."""
    try:
        read = json.loads(text) if text else {}
    except ValueError:
        return {}
    if not isinstance(read, dict):
        return {}
    return {str(name): value for name, value in read.items() if isinstance(value, str | int | float)}


def _ended(workspace: Workspace, captioner: Captioner, kinds: Sequence[str]) -> dict[tuple[str, str], tuple[int, str]]:
    """(kind, image) -> attempt and status of what the present captioner has ended."""
    found: dict[tuple[str, str], tuple[int, str]] = {}
    for kind in kinds:
        rows = workspace.query(
            f"SELECT subject_id, attempt, status FROM last_outcomes WHERE step = '{STEP}.{kind}' "
            f"AND config_hash = '{captioner.version(kind)}'"
        ).to_pylist()
        found |= {(kind, row["subject_id"]): (row["attempt"], row["status"]) for row in rows}
    return found


def _written(workspace: Workspace, captioner: Captioner, kinds: Sequence[str]) -> frozenset[tuple[str, str]]:
    """Captions that are there already: a run that was killed before their outcomes has paid for them."""
    versions = ", ".join(f"'{captioner.version(kind)}'" for kind in kinds)
    rows = workspace.query(f"SELECT kind, image_id FROM captions WHERE captioner IN ({versions})").to_pylist()
    return frozenset((row["kind"], row["image_id"]) for row in rows)


def _settle(captioner: Captioner, batch: Batch, answers: Answers) -> Settled:
    rows: list[dict[str, Any]] = []
    done: dict[str, list[EndedRow]] = {}
    counts: Counter[str] = Counter()
    for item, answer in zip(batch, answers, strict=True):
        for kind in item.kinds:
            written = answer if isinstance(answer, Failure) else answer.get(kind)
            failure = _failure(written)
            status = failure.status if failure else Status.OK
            done.setdefault(kind, []).append((item.image_id, item.attempt, status, failure))
            counts.update({"in": 1, str(status) if failure else "captioned": 1, f"{kind}:in": 1})
            counts[f"{kind}:captioned"] += failure is None
            if failure is not None:
                counts[f"{status}:{failure.reason}"] += 1
            if isinstance(written, Written):
                counts.update(_cost(kind, written))
                if failure is None:
                    rows.append(_row(captioner, item.image_id, kind, written))
    outcomes = [outcome_rows(f"{STEP}.{kind}", captioner.version(kind), ended) for kind, ended in done.items()]
    table = pa.Table.from_pylist(rows, schema=TABLES["captions"].schema)
    return Settled({"captions": table}, pa.concat_tables(outcomes), counts)


def _failure(written: Written | Failure | None) -> Failure | None:
    """None for an accepted caption, and for one that was there already."""
    if written is None or isinstance(written, Failure):
        return written
    return None if written.verified.accepted else Failure(Reason.CAPTION_FAILED, written.verified.why_not)


def _cost(kind: str, written: Written) -> dict[str, int]:
    return {
        f"{kind}:asked": written.asked,
        f"{kind}:prompt_tokens": written.prompt_tokens,
        f"{kind}:tokens": written.tokens,
        f"{kind}:ms": round(1000 * written.seconds),
    }


def _row(captioner: Captioner, image_id: str, kind: str, written: Written) -> dict[str, Any]:
    version = captioner.version(kind)
    return {
        "caption_id": caption_id(image_id, kind, version, written.seed),
        "image_id": image_id,
        "kind": kind,
        "captioner": version,
        "seed": written.seed,
        "text": written.verified.text,
        "payload_json": json.dumps(written.verified.payload, ensure_ascii=False, separators=(",", ":")),
        "language": language_of(written.verified.text or "", CAPTIONERS[kind].writes),
        "evidence_json": written.verified.evidence_json(),
        "tokens": written.last_tokens,
    }
