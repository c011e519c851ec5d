"""Do captions of its training pictures say what a captioner sees that did not write them?"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow as pa

from captioners import CAPTIONERS
from flywheel.encoders.vlm import Ask, Refused
from flywheel.images.sandbox import Sandbox
from flywheel.records import Failure, Locator, Reason
from flywheel.seeds import stable_hash
from flywheel.triage.attribution import Experiment, Finding, Kind
from flywheel.triage.terms import terms
from flywheel.workspace import Workspace
from pipelines.asking import waiting
from pipelines.captioner import Captioner, captioner_of, model_from
from pipelines.checkpoints import shown_in_training
from pipelines.experiments.trial import Parts, Trial, healthy_concepts, share_of
from pipelines.sending import sending_task

_KIND = "general"
_CLAIMED = """
WITH held AS (SELECT DISTINCT image_id FROM snapshots JOIN wanted USING (snapshot_id)),
     said AS (SELECT image_id, caption AS "text" FROM sources WHERE caption IS NOT NULL
              UNION ALL SELECT image_id, "text" FROM captions WHERE NOT starts_with(captioner, (SELECT any_value(auditor) FROM wanted)))
SELECT image_id, string_agg("text", ' ' ORDER BY "text") AS told, any_value(i.uri) AS uri, any_value(i.member) AS member,
       any_value(i."offset") AS "offset", any_value(i.length) AS length
FROM held JOIN said USING (image_id) JOIN images i USING (image_id) GROUP BY image_id
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A training picture whose captions say that it shows these parts."""

    image_id: str
    locator: Locator
    parts: Parts


def captions_audit(trial: Trial, wanted: Experiment) -> Finding:
    snapshots = shown_in_training(trial.workspace, trial.generator.checkpoint_id)
    auditor = captioner_of(trial.workspace)
    if snapshots is None or auditor is None:
        return Finding(kind=Kind.CAPTIONS, shares=None, round=wanted.round)
    told = _claimed(trial.workspace, snapshots, auditor.name)
    mine = _of(trial, told, [frozenset(trial.mode.parts)], wanted.prompts)
    others = _of(trial, told, healthy_concepts(trial), wanted.prompts)
    seen = _accounts(trial, [*mine, *others], auditor)
    shares = {
        name: share_of([float(claim.parts <= seen[claim.image_id]) for claim in claims if claim.image_id in seen])
        for name, claims in (("agrees", mine), ("healthy", others))
    }
    if not all(share.of for share in shares.values()):
        return Finding(kind=Kind.CAPTIONS, shares=None, round=wanted.round)
    return Finding(kind=Kind.CAPTIONS, shares=shares, cost=float(len(seen)), round=wanted.round)


def _claimed(workspace: Workspace, snapshots: Sequence[str], auditor: str) -> list[dict[str, Any]]:
    wanted = pa.table({"snapshot_id": list(snapshots), "auditor": [auditor] * len(snapshots)})
    found: list[dict[str, Any]] = workspace.query(_CLAIMED, wanted=wanted).to_pylist()
    return found


def _of(trial: Trial, told: Sequence[Mapping[str, Any]], concepts: Sequence[Parts], number: int) -> list[Claim]:
    """So many pictures that are said to show one of the concepts, by a lot of the mode's own; each for one that it claims."""
    found = []
    for row in sorted(told, key=lambda row: stable_hash([trial.mode.mode_id, row["image_id"]])):
        claimed = [concept for concept in concepts if concept <= terms(row["told"])]
        if claimed:
            parts = min(claimed, key=lambda concept: stable_hash([row["image_id"], sorted(concept)]))
            found.append(Claim(image_id=row["image_id"], locator=Locator.of(row), parts=parts))
        if len(found) == number:
            break
    return found


def _accounts(trial: Trial, claims: Sequence[Claim], auditor: Captioner) -> dict[str, Parts]:
    """What the auditor sees, by image; those that cannot be read or described any more are left out."""
    once = list({claim.image_id: claim for claim in claims}.values())
    budgets = trial.workspace.config.ingest.budgets
    task = sending_task(budgets, partial(accounts, auditor=auditor), auditor.max_pixels)
    found: dict[str, Parts] = {}
    for batch, answers in trial.executor.map(task, [once], lambda: None):
        found |= {one.image_id: told for one, told in zip(batch, answers, strict=True) if not isinstance(told, Failure)}
    return found


def accounts(claims: Sequence[Claim], sandbox: Sandbox[Any, Any], auditor: Captioner) -> list[Parts | Failure]:
    """What a worker does: pictures from its child, the auditor's words on each, as parts."""
    kind, pictures = CAPTIONERS[_KIND], list(sandbox.run(claims))
    asks = [
        Ask(image=one, prompt=kind.asks[auditor.style], schema=kind.schema, max_tokens=kind.max_tokens)
        for one in pictures
        if not isinstance(one, Failure)
    ]
    told = iter(model_from(auditor.served).answers(asks, waiting))
    return [one if isinstance(one, Failure) else _parts(next(told)) for one in pictures]


def _parts(answer: Any) -> Parts | Failure:
    if isinstance(answer, Refused):
        return Failure(Reason.CAPTION_REFUSED, answer.detail)
    try:
        return terms(CAPTIONERS[_KIND].text(json.loads(answer.text)))
    except (ValueError, KeyError, TypeError) as error:
        return Failure(Reason.CAPTION_REFUSED, f"an account of another shape ({type(error).__name__})")
