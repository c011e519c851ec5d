"""Everything that is known of one image, or of a file that became none, in one record."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from filters.policy import Policy
from filters.rules import RULES, STAGES
from filters.scorers import SCORERS
from filters.verdicts import violations_sql
from flywheel.errors import UsageError
from flywheel.records import Reason
from flywheel.workspace import Workspace
from pipelines.chosen import answering, is_start, spellings
from pipelines.judging import judging_views
from pipelines.policies import active_policy

Views = Mapping[str, str]
Row = dict[str, Any]

_SHOWN_DIGITS = 12
_RETRY = "`flywheel retry` tries it again"
_AGAIN = "then ingest it again"
_BUDGET = "if you want it all the same, raise [ingest] {} in flywheel.toml, " + _AGAIN
# What a person can do about each reason; where nothing stands here, the step's detail says all there is.
_TO_DO: Mapping[Reason, str] = {
    Reason.EMPTY: f"put the whole file in its place, {_AGAIN}",
    Reason.NOT_AN_IMAGE: "its bytes are those of no image, whatever its name says: nothing to do",
    Reason.UNSUPPORTED_FORMAT: f"convert it to JPEG, PNG, WebP, AVIF, TIFF, GIF or BMP, {_AGAIN}",
    Reason.TRUNCATED: f"put a whole copy in its place, {_AGAIN}",
    Reason.BROKEN: f"put a sound copy in its place, {_AGAIN}",
    Reason.TOO_MANY_BYTES: _BUDGET.format("max_bytes"),
    Reason.TOO_MANY_PIXELS: _BUDGET.format("max_pixels"),
    Reason.SIDE_TOO_LONG: _BUDGET.format("max_side_px"),
    Reason.SYMLINK_OUT_OF_ROOT: "if you want it, ingest the folder that it leads to",
    Reason.UNSAFE_MEMBER_PATH: f"pack the tar with relative names and no `..`, {_AGAIN}",
    Reason.BAD_LISTING: "mend the line in its listing, then take the listing in again",
    Reason.MISSING: "see that its listing names a file that is there, or of a pair images that are ingested; "
    "then take the listing in again",
    Reason.ADDRESS_REFUSED: f"if the host is yours, name it in [ingest] allow_hosts in flywheel.toml, {_AGAIN}",
    Reason.HTTP_REFUSED: "see what its server answers, and list the address that works",
    Reason.OPTED_OUT: "its owner does not want it used: nothing to do",
    Reason.FORGOTTEN: "it was forgotten and stays out: nothing to do",
    Reason.OUT_OF_DOMAIN: "the weights of this profile do not know such pictures: name others (`flywheel doctor`), then embed again",
    Reason.CAPTION_REFUSED: "see what the server answers to this picture: nothing else helps",
    Reason.CAPTION_FAILED: f"{_RETRY} with other seeds; the detail says what its last caption failed",
    Reason.GENERATION_REFUSED: "see what the endpoint answers to this prompt: nothing else helps",
    Reason.GENERATION_FAILED: "the next `flywheel evaluate` asks again",
    Reason.DECODER_TIMED_OUT: f"{_RETRY}; where it needs longer, raise [ingest] decode_s in flywheel.toml first",
    Reason.CONTENT_CHANGED: f"bring the original back as it was (`flywheel verify` lists such files), then {_RETRY}",
    Reason.FETCH_TIMED_OUT: f"{_RETRY}; where it needs longer, raise [ingest] fetch_s in flywheel.toml first",
}


def explain(workspace: Workspace, name: str) -> Row:
    """What `name` stands for: an image_id, 8 or more of its digits, or the URI or path that it was seen at.

    Of an image: facts, sightings, outcomes, what other bytes failed at its places (`failed_there`), what is written in
    it, scores, duplicates, the verdict and every violated rule at each stage, edit pairs, snapshots. Of a forgotten
    image: its tombstone. Of anything that ingest or another step refused: its sightings and outcomes. `outcomes` say
    what to do where one is not well.
    Raises UsageError when nothing answers to the name, or more than one image.
    """
    found = answering(workspace, name)
    if len(found) > 1:
        ids = ", ".join(image_id[:_SHOWN_DIGITS] for image_id in found)
        raise UsageError(f"{len(found)} images answer to {name!r}; give one of their ids: {ids}")
    told = _image(workspace, found[0]) if found else _refused(workspace, name)
    if told is None:
        raise UsageError(
            f"0 images answer to {name!r}, and no file that was refused; "
            "give an image_id, 8 or more of its digits, or its path"
        )
    return told


def _image(workspace: Workspace, image_id: str) -> Row:
    policy = active_policy(workspace)
    views = judging_views(workspace, policy)

    def rows(sql: str) -> list[Row]:
        found: list[Row] = workspace.query(sql, views).to_pylist()
        return found

    where = f"WHERE image_id = '{image_id}'"
    facts = rows(f"SELECT * FROM images {where}")
    if not facts:
        (tombstone,) = rows(f"SELECT * FROM tombstones {where}")
        return {"forgotten": tombstone}
    sources = [_sighting(row) for row in rows(f"SELECT * FROM sources {where} ORDER BY uri, source_id")]
    failed = _failed_at(workspace, [row["uri"] for row in sources])
    scores = workspace.query(f"SELECT * FROM scores {where}", views)
    text = rows(f"SELECT text FROM score_ocr {where} AND version = '{SCORERS['ocr'].version}'")
    return {
        "image": facts[0],
        "sources": sources,
        "outcomes": _outcomes(workspace, [image_id]),
        "failed_there": {"sources": failed, "outcomes": _outcomes(workspace, [row["source_id"] for row in failed])},
        "scores": scores.to_pylist()[0],
        "text": text[0]["text"] if text else None,
        "duplicates": rows(
            f"SELECT * FROM duplicate_groups WHERE '{image_id}' IN (image_id, representative_id) "
            "AND image_id <> representative_id ORDER BY image_id"
        ),
        "policy": {"name": policy.name, "policy_id": policy.policy_id},
        "verdicts": _verdicts(workspace, policy, views, scores),
        "pairs": _pairs(workspace, views, image_id),
        "snapshots": rows(f"SELECT snapshot_id, stage, bucket FROM snapshots {where} ORDER BY snapshot_id"),
    }


def _sighting(row: Row) -> Row:
    return row | {"metadata": json.loads(row.pop("metadata_json") or "null")}


def _outcomes(workspace: Workspace, subjects: Sequence[str]) -> list[Row]:
    """Every attempt, oldest first; `last` marks the last word of a step, which alone has something `to_do`."""
    rows: list[Row] = workspace.query(
        "SELECT o.*, l.subject_id IS NOT NULL AS last FROM outcomes o JOIN subjects USING (subject_id) "
        "LEFT JOIN last_outcomes l USING (step, subject_id, config_hash, attempt) ORDER BY subject_id, step, attempt",
        subjects=pa.table({"subject_id": pa.array(subjects, pa.string())}),
    ).to_pylist()
    return [row | {"to_do": to_do(row["reason"], bool(row["retryable"])) if row["last"] else None} for row in rows]


def to_do(reason: str | None, retryable: bool) -> str | None:
    """What a person can do about an outcome; None where it is well, or nothing is known."""
    known = _TO_DO.get(Reason(reason)) if reason in set(Reason) else None
    return known or (_RETRY if retryable else None)


def _verdicts(workspace: Workspace, policy: Policy, views: Views, scores: pa.Table) -> list[Row]:
    """A row a stage of the one image in `scores`. `violated` lists all rules that refuse it there, in their order."""
    violated: dict[int, set[str]] = {}
    for stage in reversed(STAGES):
        violated[stage] = set(workspace.query(violations_sql(policy, stage), scores=scores)["rule"].to_pylist())
        if not violated[stage]:  # stages only tighten: nothing is violated before this one
            break
    verdicts: list[Row] = workspace.query(
        "SELECT * FROM verdicts WHERE image_id = (SELECT image_id FROM wanted) ORDER BY stage",
        views,
        wanted=scores.select(["image_id"]),
    ).to_pylist()
    for row in verdicts:
        # The set's own rule is about all images: the verdict alone knows of it.
        rules = violated.get(row["stage"], set()) | ({row["rule"]} if row["verdict"] == "dropped" else set())
        row["violated"] = [name for name in RULES if name in rules]
    return verdicts


def _pairs(workspace: Workspace, views: Views, image_id: str) -> list[Row]:
    """The edit pairs that the image is part of, each with its scores and its verdict at every stage from 2."""
    mine = f"SELECT * FROM pairs WHERE target_id = '{image_id}' OR list_contains(reference_ids, '{image_id}')"
    pairs: list[Row] = workspace.query(f"{mine} ORDER BY pair_id").to_pylist()
    if not pairs:
        return []
    scores = workspace.query(f"SELECT * FROM pair_scores SEMI JOIN ({mine}) USING (pair_id)").to_pylist()
    judged = workspace.query(
        f"SELECT * FROM pair_verdicts SEMI JOIN ({mine}) USING (pair_id) ORDER BY stage", views
    ).to_pylist()
    return [
        pair
        | {"role": "target" if pair["target_id"] == image_id else "reference"}
        | {"scores": [row for row in scores if row["pair_id"] == pair["pair_id"]]}
        | {"verdicts": [row for row in judged if row["pair_id"] == pair["pair_id"]]}
        for pair in pairs
    ]


def _refused(workspace: Workspace, name: str) -> Row | None:
    """What became no image: by place, or by the id of a subject, or the start of one."""
    sources = _failed_at(workspace, spellings(name))
    subjects = [row["source_id"] for row in sources]
    if not sources and is_start(name):
        found = workspace.query(f"SELECT subject_id FROM rejects WHERE starts_with(subject_id, '{name.lower()}')")
        subjects = sorted(set(found["subject_id"].to_pylist()))
        rows = workspace.query(
            "SELECT * FROM sources SEMI JOIN wanted USING (source_id) ORDER BY uri, source_id",
            wanted=pa.table({"source_id": pa.array(subjects, pa.string())}),
        ).to_pylist()
        sources = [_sighting(row) for row in rows]
    return {"sources": sources, "outcomes": _outcomes(workspace, subjects)} if subjects else None


def _failed_at(workspace: Workspace, uris: Sequence[str]) -> list[Row]:
    """Sightings at some places that became no image."""
    rows = workspace.query(
        "SELECT * FROM sources SEMI JOIN places USING (uri) WHERE image_id IS NULL ORDER BY uri, source_id",
        places=pa.table({"uri": pa.array(sorted(set(uris)), pa.string())}),
    ).to_pylist()
    return [_sighting(row) for row in rows]
