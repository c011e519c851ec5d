"""Collect: what was said of pictures, by people and by judges, becomes failures and modes.

Said is kept as it was said (`feedback`, `evaluations`); failures and who belongs to which mode follow from it and are
written anew where they changed. Modes keep their ids and what became of them.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import pyarrow as pa

from flywheel.clock import now
from flywheel.facets import SCORE, Facet
from flywheel.schemas import TABLES
from flywheel.seeds import stable_hash
from flywheel.signals.failing import Spoken, spoken
from flywheel.signals.feedback import Feedback
from flywheel.triage.modes import Mode, Seen, measured, modes, named
from flywheel.triage.terms import terms
from flywheel.workspace import Workspace, runs
from pipelines.mode_events import Event, happened

STEP = "collect"
EVALUATION = "evaluation"
# What the gate and the report ask, and what was asked in our own words, must not shape what is healed.
_FOR_TRIAGE = "coalesce(json_extract_string(labels_json, '$.role'), 'triage') = 'triage'"
_IDS = pa.schema({"ids": pa.list_(pa.string())})
Labels = Mapping[str, frozenset[str]]  # of a generation: what its suite says of its prompt


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """How many are there now, and how many of them are new."""

    feedback: int
    new_feedback: int
    failures: int
    new_failures: int
    modes: int
    new_modes: int


def collect(workspace: Workspace, said: Sequence[Feedback] = ()) -> Collected:
    """Write down what is said, then all that follows from it. Said twice is said once. Raises AnotherDriver."""
    run = runs.start(workspace, STEP)
    counts: dict[str, int] = {}
    with run.recorded(counts):
        new = _added(workspace, said, run.run_id)
        told, labels = _told(workspace)
        pictures = spoken(told)
        failures = [one for one in pictures if one.fails]
        new_failures = _replaced(workspace, "failures", [_failure(one) for one in failures], run.run_id)
        found = _modes(workspace, pictures, labels)
        new_modes = _kept(workspace, found, run.run_id)
        done = Collected(
            feedback=len(told),
            new_feedback=new,
            failures=len(failures),
            new_failures=new_failures,
            modes=len({mode.mode_id for _, mode in found}),
            new_modes=new_modes,
        )
        counts |= asdict(done)
    run.end("finished", counts)
    return done


def _added(workspace: Workspace, said: Sequence[Feedback], run_id: str) -> int:
    known = set(workspace.query("SELECT feedback_id FROM feedback")["feedback_id"].to_pylist())
    new = {one.feedback_id: one for one in said if one.feedback_id not in known}
    taken_at = now()
    rows = [_row(feedback_id, one) | {"taken_at": taken_at} for feedback_id, one in new.items()]
    workspace.tables.append("feedback", pa.Table.from_pylist(rows, schema=TABLES["feedback"].schema), run_id=run_id)
    return len(new)


def _row(feedback_id: str, said: Feedback) -> dict[str, Any]:
    facets = {str(facet): score for facet, score in said.facets.items()}
    row = {name: getattr(said, name) for name in Feedback.__slots__ if name != "facets"}
    return row | {
        "feedback_id": feedback_id,
        "references": list(said.references),
        "facets_json": json.dumps(facets, sort_keys=True),
    }


def _told(workspace: Workspace, of: Collection[str] | None = None) -> tuple[list[Feedback], Labels]:
    """All that was ever said: people first, each later word after the earlier ones, then judges.

    `of`: what judges said of these generations, whatever they were drawn for; None: of all that may shape what is healed.
    """
    said = "SELECT * FROM feedback ORDER BY coalesce(nullif(\"at\", ''), taken_at), feedback_id"
    rows = workspace.query(said).to_pylist()
    asked = _asked(workspace)
    people = [_completed(_feedback(row), asked) for row in rows]
    judged = workspace.query(
        "SELECT generation_id, any_value(g.prompt) AS prompt, any_value(reference_ids) AS reference_ids, "
        "any_value(c.name) AS checkpoint, any_value(seed) AS seed, any_value(labels_json) AS labels_json, judge, "
        "array_agg(facet ORDER BY facet, repeat) AS facets, array_agg(score ORDER BY facet, repeat) AS scores "
        "FROM evaluations e JOIN generations g USING (generation_id) JOIN checkpoints c USING (checkpoint_id) "
        "LEFT JOIN (SELECT item_id, labels_json FROM suite_items) USING (item_id) "
        f"WHERE {_FOR_TRIAGE if of is None else 'list_contains((SELECT ids FROM wanted), generation_id)'} "
        "GROUP BY generation_id, judge ORDER BY generation_id, judge",
        wanted=pa.table({"ids": [sorted(of or ())]}, schema=_IDS),
    ).to_pylist()
    labels = {row["generation_id"]: labels_of(json.loads(row["labels_json"] or "{}")) for row in judged}
    return [*people, *map(_evaluated, judged)], labels


def _asked(workspace: Workspace) -> dict[str, Mapping[str, Any]]:
    """What was asked, by every name that a generation goes by."""
    rows = workspace.query(
        "SELECT generation_id, request_id, prompt, reference_ids, c.name AS checkpoint, seed, image "
        "FROM generations g JOIN checkpoints c USING (checkpoint_id)"
    ).to_pylist()
    return {row[name]: row for name in ("request_id", "generation_id") for row in rows if row[name]}


def _completed(said: Feedback, asked: Mapping[str, Mapping[str, Any]]) -> Feedback:
    """With what the generation knows and whoever spoke of it did not say."""
    row = asked.get(said.generation)
    if row is None:
        return said
    return replace(
        said,
        generation=row["generation_id"],
        prompt=said.prompt or row["prompt"],
        references=said.references or tuple(row["reference_ids"]),
        checkpoint=said.checkpoint or row["checkpoint"],
        seed=row["seed"] if said.seed is None else said.seed,
        image=said.image or row["image"] or "",
    )


def _feedback(row: Mapping[str, Any]) -> Feedback:
    known = {name: row[name] for name in Feedback.__slots__ if name not in ("facets", "references")}
    facets = {Facet(name): score for name, score in json.loads(row["facets_json"]).items()}
    return Feedback(**known, references=tuple(row["references"]), facets=facets)


def _evaluated(row: Mapping[str, Any]) -> Feedback:
    """One judge's word on one picture: the mean of its looks."""
    scores: dict[str, list[float]] = defaultdict(list)
    for facet, score in zip(row["facets"], row["scores"], strict=True):
        scores[facet].append(score)
    means = {facet: sum(of) / len(of) for facet, of in scores.items()}
    return Feedback(
        source=EVALUATION,
        prompt=row["prompt"],
        references=tuple(row["reference_ids"]),
        generation=row["generation_id"],
        checkpoint=row["checkpoint"],
        seed=row["seed"],
        score=means.pop(SCORE, None),
        facets={Facet(name): mean for name, mean in means.items()},
        actor=row["judge"],
    )


def said_of(workspace: Workspace, failure_id: str) -> list[Feedback]:
    """All that was ever said of the picture of a failure, heard or not."""
    return [one for one in _told(workspace)[0] if _failure_id(one.picture) == failure_id]


def labels_of(labels: Mapping[str, str]) -> frozenset[str]:
    """What a suite says of a prompt, as parts; whose role it has says nothing of what it asks."""
    return frozenset(f"{name} {value}" for name, value in labels.items() if name != "role")


def pictures_of(workspace: Workspace, checkpoint_id: str) -> list[Seen]:
    """All pictures of a checkpoint that were spoken of."""
    rows = workspace.query(f"SELECT generation_id FROM generations WHERE checkpoint_id = '{checkpoint_id}'")
    mine = set(rows["generation_id"].to_pylist())
    told, labels = _told(workspace)
    return [_seen(one, labels) for one in spoken([said for said in told if said.generation in mine])]


def seen_of(workspace: Workspace, generations: Collection[str], judge: str) -> list[Seen]:
    """These pictures as one judge saw them."""
    told, labels = _told(workspace, generations)
    judged = [one for one in told if (one.source, one.actor) == (EVALUATION, judge)]
    return [_seen(one, labels) for one in spoken(judged)]


def _failure_id(picture: str) -> str:
    return stable_hash(["failure", picture], 32)


def _failure(one: Spoken) -> dict[str, Any]:
    first = one.first
    return {
        "failure_id": _failure_id(first.picture),
        "generation_id": first.generation,
        "prompt": first.prompt,
        "reference_ids": list(first.references),
        "facets": [str(facet) for facet in one.facets],
        "severity": one.severity,
        "signal": first.source,
        "actor": ", ".join(sorted({said.actor for said in one.said if said.actor})),
        "at": max(said.at for said in one.said),
        "checkpoint": first.checkpoint,
        "image": first.image,
        "comment": "; ".join(dict.fromkeys(said.comment for said in one.said if said.comment)),
        "missing": list(first.missing),
    }


def _modes(workspace: Workspace, pictures: Iterable[Spoken], labels: Labels) -> list[tuple[str, Mode]]:
    """(checkpoint, mode): what stands out of each checkpoint's pictures, and how modes known before stand there now."""
    by_checkpoint: dict[str, list[Seen]] = defaultdict(list)
    for one in pictures:
        if one.means:
            by_checkpoint[one.first.checkpoint].append(_seen(one, labels))
    known = workspace.query("SELECT facet, parts FROM modes ORDER BY mode_id").to_pylist()
    found: list[tuple[str, Mode]] = []
    for checkpoint, seen in sorted(by_checkpoint.items()):
        now = modes(seen)
        ids = {mode.mode_id for mode in now}
        before = [measured(seen, row["facet"], row["parts"]) for row in known]
        found += [(checkpoint, mode) for mode in now]
        found += [(checkpoint, mode) for mode in before if mode is not None and mode.mode_id not in ids]
    return found


def prompt_id(prompt: str, references: Sequence[str] = ()) -> str:
    """What counts as one prompt among cases."""
    return stable_hash([prompt, list(references)])


def _seen(one: Spoken, labels: Labels) -> Seen:
    first = one.first
    return Seen(
        picture=_failure_id(first.picture),
        prompt_id=prompt_id(first.prompt, first.references),
        parts=terms(first.prompt) | labels.get(first.generation, frozenset()),
        means=one.means,
    )


def _kept(workspace: Workspace, found: Sequence[tuple[str, Mode]], run_id: str) -> int:
    """Write modes that are new, who belongs to which, and how each stands where that changed. Returns how many are new."""
    by_id = {mode.mode_id: mode for _, mode in found}
    known = set(workspace.query("SELECT mode_id FROM modes")["mode_id"].to_pylist())
    new = [mode for mode_id, mode in by_id.items() if mode_id not in known]
    rows = [
        {"mode_id": mode.mode_id, "facet": mode.facet, "parts": list(mode.parts), "name": named(mode.facet, mode.parts)}
        for mode in new
    ]
    workspace.tables.append("modes", pa.Table.from_pylist(rows, schema=TABLES["modes"].schema), run_id=run_id)
    members = sorted({(mode.mode_id, picture) for _, mode in found for picture in mode.pictures})
    _replaced(
        workspace, "mode_members", [{"mode_id": mode, "failure_id": failure} for mode, failure in members], run_id
    )
    _measured(workspace, found, run_id)
    return len(new)


def _measured(workspace: Workspace, found: Sequence[tuple[str, Mode]], run_id: str) -> None:
    """How each mode stands now, where that is not how it stood."""
    last = {
        (row["mode_id"], json.loads(row["detail_json"])["checkpoint"]): row["detail_json"]
        for row in workspace.query(
            "SELECT mode_id, detail_json FROM mode_events WHERE event = 'measured' ORDER BY mode_id, seq"
        ).to_pylist()
    }
    events = [
        Event(mode_id=mode.mode_id, event="measured", detail={"checkpoint": checkpoint, **_figures(mode)})
        for checkpoint, mode in found
    ]
    changed = [one for one in events if last.get((one.mode_id, one.detail["checkpoint"])) != one.detail_json]
    happened(workspace, changed, actor="flywheel", run_id=run_id)


def _figures(mode: Mode) -> dict[str, Any]:
    figures = ("failing", "prompts", "elsewhere", "p", "severity")
    return {name: getattr(mode, name) for name in figures} | {"pictures": len(mode.pictures)}


def _replaced(workspace: Workspace, name: str, rows: Sequence[Mapping[str, Any]], run_id: str) -> int:
    """Write a table that follows from others anew, where it changed. Returns how many keys are new."""
    spec = TABLES[name]
    order = [(column, "ascending") for column in spec.key]
    wanted = pa.Table.from_pylist(list(rows), schema=spec.schema).sort_by(order)
    columns = ", ".join(f'"{column}"' for column in spec.schema.names)
    there = workspace.query(f"SELECT {columns} FROM {name} ORDER BY {', '.join(spec.key)}").cast(spec.schema)
    if wanted.equals(there):
        return 0
    workspace.tables.replace(name, wanted, run_id=run_id)
    before = {tuple(row.values()) for row in there.select(spec.key).to_pylist()}
    return sum(tuple(row.values()) not in before for row in wanted.select(spec.key).to_pylist())
