"""Tables of the loop: what models drew, what was said of it, what fails and what is done about it."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from flywheel.schemas.spec import TEXT, TableSpec, spec

TABLES: Sequence[TableSpec] = (
    spec(
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
    spec(
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
    spec(
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
    spec(
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
            "image": TEXT,
        },
    ),
    spec(
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
    spec(
        "feedback",
        "feedback_id",
        "what one person or one judge said of one picture; `score` and facets are 0 for bad to 1 for good",
        {
            "feedback_id": TEXT,
            "source": TEXT,
            "prompt": TEXT,
            "references": pa.list_(TEXT),
            "image": TEXT,
            "generation": TEXT,
            "checkpoint": TEXT,
            "seed": pa.int64(),
            "score": pa.float64(),
            "rank": pa.float64(),
            "facets_json": TEXT,
            "comment": TEXT,
            "actor": TEXT,
            "at": TEXT,
            "taken_at": TEXT,
        },
    ),
    spec(
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
            "checkpoint": TEXT,
            "image": TEXT,
            "comment": TEXT,
            "missing": pa.list_(TEXT),
        },
    ),
    spec(
        "modes",
        "mode_id",
        "failures that fail alike: what fails (a facet), and where (the parts of prompts); no parts: no concept stands out",
        {"mode_id": TEXT, "facet": TEXT, "parts": pa.list_(TEXT), "name": TEXT},
    ),
    spec(
        "mode_members",
        "mode_id failure_id",
        "a failure that belongs to a mode",
        {"mode_id": TEXT, "failure_id": TEXT},
    ),
    spec(
        "mode_events",
        "mode_id seq",
        "what became of a mode: measured, confirmed, routed, planned, healed, dismissed, a note",
        {"mode_id": TEXT, "seq": pa.int64(), "event": TEXT, "actor": TEXT, "at": TEXT, "detail_json": TEXT},
    ),
)
