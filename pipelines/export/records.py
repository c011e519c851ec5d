"""What an export tells of each image: one typed row, the same in every format."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from flywheel.errors import FlywheelError
from flywheel.records import Locator
from flywheel.workspace import Workspace

# A change of what a record or a shard holds changes this, and an older export is written anew.
LAYOUT = 1

SUFFIXES: Mapping[str, str] = {
    "JPEG": "jpg",
    "PNG": "png",
    "WEBP": "webp",
    "AVIF": "avif",
    "TIFF": "tiff",
    "GIF": "gif",
    "BMP": "bmp",
}

_CAPTION = pa.struct({"kind": pa.string(), "text": pa.string(), "language": pa.string(), "caption_id": pa.string()})
_FACTS = pa.schema(
    {
        "image_id": pa.string(),
        "original_key": pa.string(),
        "caption": pa.string(),
        "captions": pa.list_(_CAPTION),
        "dataset": pa.string(),
        "licence": pa.string(),
        "format": pa.string(),
        "width_px": pa.int32(),
        "height_px": pa.int32(),
        "bytes": pa.int64(),
        "domain": pa.string(),
        "stage": pa.int32(),
        "bucket": pa.string(),
        "resolution_px": pa.int32(),
        "crop_loss": pa.float64(),
        "weight": pa.float64(),
    }
)
_PLACE = ("uri", "member", "offset", "length")

# Captions of the sources first (a picture seen twice with one text has it once), then those that were written.
# The trained caption is the snapshot's own choice, else what the image's source said, else another source.
_RECORDS = """
WITH held AS (SELECT * FROM snapshots WHERE snapshot_id = '{snapshot_id}'),
     said AS (SELECT image_id, 0 AS turn, min(source_id) AS place, 'source' AS kind, caption AS "text",
                     NULL::VARCHAR AS language, NULL::VARCHAR AS caption_id
              FROM sources SEMI JOIN held USING (image_id) WHERE caption IS NOT NULL GROUP BY image_id, caption
              UNION ALL
              SELECT image_id, 1, caption_id, kind, "text", language, caption_id
              FROM captions SEMI JOIN held USING (image_id)),
     told AS (SELECT image_id, list(struct_pack(kind := kind, "text" := "text", language := language,
                                                caption_id := caption_id) ORDER BY turn, place) AS captions,
                     arg_min("text", place) FILTER (turn = 0) AS source_caption
              FROM said GROUP BY image_id)
SELECT held.image_id, s.original_key, coalesce(c."text", s.caption, told.source_caption) AS caption,
       coalesce(told.captions, []) AS captions,
       s.dataset, s.licence, i.format, i.width_px, i.height_px, i.bytes, v.domain, held.stage, held.bucket,
       held.resolution_px, held.crop_loss, held.weight, i.uri, i.member, i."offset", i.length,
       i.image_id IS NOT NULL AS is_known
FROM held
LEFT JOIN images i USING (image_id)
LEFT JOIN sources s ON s.source_id = i.source_id
LEFT JOIN captions c ON c.caption_id = held.caption_id
LEFT JOIN told ON told.image_id = held.image_id
LEFT JOIN verdicts v ON v.image_id = held.image_id AND v.stage = held.stage
ORDER BY held.image_id
"""
_SCORES = """
SELECT scores.* EXCLUDE (image_id)
FROM (SELECT image_id AS held_id FROM snapshots WHERE snapshot_id = '{snapshot_id}')
LEFT JOIN scores ON scores.image_id = held_id
ORDER BY held_id
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One image of an export. `told` is the side-car; `suffix` the file name's, without a dot."""

    image_id: str
    suffix: str
    locator: Locator
    told: Mapping[str, Any]

    @property
    def file_name(self) -> str:
        return f"{self.image_id}.{self.suffix}"

    @property
    def caption(self) -> str:
        return self.told["caption"] or ""


Read = Callable[[Record], bytes]  # the original bytes, verified


@dataclass(frozen=True, slots=True)
class Images:
    """The images of a snapshot in export order; `facts` are the columns that are told, `places` the locators."""

    facts: pa.Table
    places: pa.Table

    def __len__(self) -> int:
        return int(self.facts.num_rows)

    def grouped(self) -> Images:
        """Reordered by bucket and resolution, then image_id."""
        order = self.facts.select(["bucket", "resolution_px", "image_id"])
        keys = [("bucket", "ascending"), ("resolution_px", "ascending"), ("image_id", "ascending")]
        position = order.append_column("position", pa.array(range(len(self)), pa.int64())).sort_by(keys)["position"]
        return Images(self.facts.take(position), self.places.take(position))

    def groups(self) -> list[str]:
        """A folder for each image: `2x3-512`, the bucket and the resolution it is trained at."""
        pairs = zip(self.facts["bucket"].to_pylist(), self.facts["resolution_px"].to_pylist(), strict=True)
        return [f"{(bucket or 'any').replace(':', 'x')}-{side or 'any'}" for bucket, side in pairs]

    def sizes(self) -> list[int]:
        return [int(size) for size in self.facts["bytes"].to_pylist()]

    def records(self, start: int, stop: int) -> list[Record]:
        facts = self.facts.slice(start, stop - start).to_pylist()
        places = self.places.slice(start, stop - start).to_pylist()
        return [
            Record(
                image_id=told["image_id"], suffix=SUFFIXES[told["format"]], locator=Locator(**place), told=_finite(told)
            )
            for told, place in zip(facts, places, strict=True)
        ]


def load_images(workspace: Workspace, snapshot_id: str, views: Mapping[str, str]) -> Images:
    """Everything an export needs to know, by image_id; `views` hold `verdicts` and `scores`.

    Raises FlywheelError when the snapshot is empty or names images that the workspace no longer knows.
    """
    rows = workspace.query(_RECORDS.format(snapshot_id=snapshot_id), views)
    if not rows.num_rows:
        raise FlywheelError(f"snapshot {snapshot_id} holds no images any more")
    if unknown := rows["is_known"].to_pylist().count(False):
        raise FlywheelError(
            f"snapshot {snapshot_id} names {unknown} images that table images no longer holds; freeze the stage again"
        )
    scores = workspace.query(_SCORES.format(snapshot_id=snapshot_id), views)
    assert scores.num_rows == rows.num_rows, "views give more than one row an image"
    facts = rows.select(_FACTS.names).cast(_FACTS)
    return Images(facts.append_column("scores", _struct(scores)), rows.select(list(_PLACE)))


def rows_sha256(records: Iterable[Record]) -> str:
    """What a shard is written from. The image_ids among it are hashes of the bytes."""
    digest = hashlib.sha256(f"layout {LAYOUT}\n".encode())
    for record in records:
        digest.update(side_car(record) + b"\n")
    return digest.hexdigest()


def side_car(record: Record) -> bytes:
    """The JSON that lies beside an image, in UTF-8."""
    return json.dumps(record.told, ensure_ascii=False, sort_keys=True, allow_nan=False).encode()


def _struct(rows: pa.Table) -> pa.Array:
    columns = [rows[name].combine_chunks() for name in rows.column_names]
    return pa.StructArray.from_arrays(columns, fields=list(rows.schema)) if columns else pa.nulls(rows.num_rows)


def _finite(value: Any) -> Any:
    """JSON has no NaN or infinity; a score that is neither number is no score."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: _finite(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_finite(inner) for inner in value]
    return value
