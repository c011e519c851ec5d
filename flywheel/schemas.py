"""Every core table: its key, its columns, and what a row says.

A scorer brings the spec of its own table (`score_spec`), so that a new scorer touches no file here.
Delta has no unsigned integers: 64-bit hashes are stored as signed bit patterns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

TEXT = pa.string()


@dataclass(frozen=True, slots=True, kw_only=True)
class TableSpec:
    """A table as it is written. `key` columns are non-null and unique."""

    name: str
    key: tuple[str, ...]
    schema: pa.Schema
    says: str


def _spec(name: str, key: str, says: str, columns: Mapping[str, pa.DataType]) -> TableSpec:
    keys = tuple(key.split())
    fields = [pa.field(column, kind, nullable=column not in keys) for column, kind in columns.items()]
    return TableSpec(name=name, key=keys, schema=pa.schema(fields), says=says)


def score_spec(name: str, says: str, columns: Mapping[str, pa.DataType]) -> TableSpec:
    """The table of one scorer: keyed by image and scorer version, measured columns nullable."""
    return _spec(f"score_{name}", "image_id version", says, {"image_id": TEXT, "version": TEXT, **columns})


_TABLES: Sequence[TableSpec] = (
    _spec(
        "sources",
        "source_id",
        "where bytes were seen",
        {
            "source_id": TEXT,
            "uri": TEXT,
            "fingerprint": TEXT,
            "dataset": TEXT,
            "licence": TEXT,
            "caption": TEXT,
            "metadata_json": TEXT,
            "original_key": TEXT,
            "origin": TEXT,
            "copied": pa.bool_(),
            "image_id": TEXT,
        },
    ),
    _spec(
        "images",
        "image_id",
        "what the bytes are and where to read them again",
        {
            "image_id": TEXT,
            "format": TEXT,
            "mode": TEXT,
            "width_px": pa.int32(),
            "height_px": pa.int32(),
            "exif_orientation": pa.int16(),
            "bytes": pa.int64(),
            "uri": TEXT,
            "member": TEXT,
            "offset": pa.int64(),
            "length": pa.int64(),
            "source_id": TEXT,
        },
    ),
    _spec(
        "outcomes",
        "step subject_id config_hash attempt",
        "how one subject ended in one step",
        {
            "step": TEXT,
            "subject_id": TEXT,
            "config_hash": TEXT,
            "attempt": pa.int32(),
            "status": TEXT,
            "reason": TEXT,
            "detail": TEXT,
            "retryable": pa.bool_(),
        },
    ),
    _spec(
        "duplicate_edges",
        "a b method_version",
        "two images shown to be the same picture, and the proof",
        {
            "a": TEXT,
            "b": TEXT,
            "method_version": TEXT,
            "distance": pa.int32(),
            "proof": TEXT,
            "proof_value": pa.float64(),
        },
    ),
    _spec(
        "duplicate_groups",
        "image_id",
        "derived: the representative that each near-duplicate matches directly",
        {
            "image_id": TEXT,
            "representative_id": TEXT,
            "distance": pa.int32(),
            "proof": TEXT,
        },
    ),
    _spec(
        "alignment",
        "image_id caption_id model_id",
        "cosine of image and caption, and how long the caption is",
        {
            "image_id": TEXT,
            "caption_id": TEXT,
            "model_id": TEXT,
            "cosine": pa.float64(),
            "kind": TEXT,
            "tokens": pa.int32(),
        },
    ),
    _spec(
        "captions",
        "caption_id",
        "a caption with the evidence of its verification",
        {
            "caption_id": TEXT,
            "image_id": TEXT,
            "kind": TEXT,
            "captioner": TEXT,
            "seed": pa.int64(),
            "text": TEXT,
            "payload_json": TEXT,
            "language": TEXT,
            "evidence_json": TEXT,
            "tokens": pa.int32(),
        },
    ),
    _spec(
        "embeddings",
        "subject_id subject_kind model_id",
        "a vector of length one by one model: of an image, of a caption",
        {
            "subject_id": TEXT,
            "subject_kind": TEXT,
            "model_id": TEXT,
            # Rounded to float16, which Delta has not: half the digits are zero and compress away.
            "vector": pa.list_(pa.float32()),
            # Of images alone: vectors nearly alike share one (`filters.semantic_keys`).
            "keys": pa.list_(pa.int64()),
        },
    ),
    _spec(
        "tags",
        "tag image_id",
        "a label that somebody gave an image",
        {"tag": TEXT, "image_id": TEXT, "actor": TEXT, "at": TEXT, "how": TEXT},
    ),
    _spec(
        "checkpoints",
        "checkpoint_id",
        "weights that make pictures: where they lie, what they came from",
        {
            "checkpoint_id": TEXT,
            "name": TEXT,
            "place": TEXT,
            "parent_id": TEXT,
            "snapshot_id": TEXT,
            "recipe_json": TEXT,
            "autoencoder_id": TEXT,
            "at": TEXT,
        },
    ),
    _spec(
        "suite_items",
        "item_id",
        "a prompt that models are examined on, and what its suite's rule needs to know",
        {
            "item_id": TEXT,
            "suite": TEXT,
            "key": TEXT,
            "prompt": TEXT,
            "reference_ids": pa.list_(TEXT),
            "labels_json": TEXT,
            "checks_json": TEXT,
        },
    ),
    _spec(
        "pictures",
        "image_id",
        "a picture that a model made or was given to edit, and where it lies; none of them is ever trained on",
        {
            "image_id": TEXT,
            "uri": TEXT,
            "member": TEXT,
            "offset": pa.int64(),
            "length": pa.int64(),
            "width_px": pa.int32(),
            "height_px": pa.int32(),
        },
    ),
    _spec(
        "generations",
        "generation_id",
        "what was asked of which checkpoint under which seed, and the picture that came",
        {
            "generation_id": TEXT,
            "checkpoint_id": TEXT,
            "item_id": TEXT,
            "prompt": TEXT,
            "enhanced_prompt": TEXT,
            "reference_ids": pa.list_(TEXT),
            "seed": pa.int64(),
            "sampler_json": TEXT,
            "request_id": TEXT,
            "image_id": TEXT,
        },
    ),
    _spec(
        "evaluations",
        "generation_id facet judge repeat",
        "how right a picture is in one facet, as one judge saw it; the facet `score` is its suite's own figure",
        {
            "generation_id": TEXT,
            "facet": TEXT,
            "judge": TEXT,
            "repeat": pa.int32(),
            "score": pa.float64(),
            "weight": pa.float64(),
            "why": pa.list_(TEXT),
        },
    ),
    _spec(
        "failures",
        "failure_id",
        "a picture that a model made badly: what was asked of it, what is wrong, who says so",
        {
            "failure_id": TEXT,
            "generation_id": TEXT,
            "prompt": TEXT,
            "reference_ids": pa.list_(TEXT),
            "facets": pa.list_(TEXT),
            "severity": pa.float64(),
            "signal": TEXT,
            "actor": TEXT,
            "at": TEXT,
        },
    ),
    _spec(
        "pairs",
        "pair_id",
        "an edit: reference images, target, instruction",
        {
            "pair_id": TEXT,
            "reference_ids": pa.list_(TEXT),
            "target_id": TEXT,
            "instruction": TEXT,
            "dataset": TEXT,
        },
    ),
    _spec(
        "pair_scores",
        "pair_id version",
        "how much of the reference the target keeps",
        {"pair_id": TEXT, "version": TEXT, "consistency": pa.float64(), "changed_area": pa.float64()},
    ),
    _spec(
        "policies",
        "policy_id",
        "the text of a policy",
        {"policy_id": TEXT, "name": TEXT, "text": TEXT},
    ),
    _spec(
        "policy_events",
        "seq",
        "who activated which policy when",
        {"seq": pa.int64(), "policy_id": TEXT, "event": TEXT, "actor": TEXT, "at": TEXT},
    ),
    _spec(
        "snapshots",
        "snapshot_id image_id",
        "one image of a frozen training set",
        {
            "snapshot_id": TEXT,
            "image_id": TEXT,
            "stage": pa.int32(),
            "bucket": TEXT,
            "resolution_px": pa.int32(),
            "crop_loss": pa.float64(),
            "caption_id": TEXT,
            "weight": pa.float64(),
        },
    ),
    _spec(
        "snapshot_events",
        "snapshot_id seq",
        "frozen, amended",
        {"snapshot_id": TEXT, "seq": pa.int64(), "event": TEXT, "actor": TEXT, "at": TEXT, "detail_json": TEXT},
    ),
    _spec(
        "tombstones",
        "image_id",
        "images that must never come back",
        {"image_id": TEXT, "why": TEXT, "actor": TEXT, "at": TEXT, "receipt_id": TEXT},
    ),
    _spec(
        "run_events",
        "run_id seq",
        "what was run when, by which driver, over which table versions, with which counts",
        {
            "run_id": TEXT,
            "seq": pa.int64(),
            "step": TEXT,
            "event": TEXT,
            "at": TEXT,
            "driver": TEXT,
            "code_revision": TEXT,
            "config_hash": TEXT,
            "tables_in_json": TEXT,
            "tables_out_json": TEXT,
            "counts_json": TEXT,
            "detail_json": TEXT,
            "wall_s": pa.float64(),
            "cpu_s": pa.float64(),
        },
    ),
)

TABLES: Mapping[str, TableSpec] = {spec.name: spec for spec in _TABLES}
