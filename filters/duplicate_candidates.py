"""Which pairs the duplicate search compares, as DuckDB SQL over what is stored of the images.

Candidates are pairs that share a key of `score_phash.keys` (see `filters.scorers.phash`). One band of a 64-bit
hash cannot do it: a 5 % crop moves up to 16 of its 64 bits, an overlay on a poster up to 32. The keys are 20
to 24 signs of low frequencies, of the picture, of five virtual crops of it (so that a crop meets the whole it
was cut from) and of its four quarters (so that an overlay leaves three of them alone). Of 444 random crops by 5 % of
real pictures 98 % share a key with the whole, of overlaid ones 99 %, of both at once 92 %, of 960 planted copies
99.6 %; two different pictures, real or planted, share one in 10 of 10,000 pairs.

A hot bucket, of more images than a cap, would cost the square of its size. There an image is compared with the
bucket's pivots alone, the first few in the order in which representatives are chosen; and of images whose stored
evidence is equal to the last byte (twins) only the first can be a pivot, the others are compared with it. Which
pairs that leaves follows from the images that are there and from nothing else: `roles_sql` tells for each image
what decides about its pairs, so that whoever notes it beside a comparison sees when the comparison is out of date.
"""

from __future__ import annotations

from dataclasses import dataclass

# width / height of two copies may differ by what a crop of one side does. Our choice.
MAX_ASPECT = 1.13


@dataclass(frozen=True, slots=True, kw_only=True)
class Crowding:
    """From how many images on a bucket is hot, and how many pivots it has then. `cap` must not be below `pivots`.

    Our choice: an image of a full bucket that is not hot is compared with 100 others on the mean.
    """

    cap: int = 200
    pivots: int = 32


CROWDING = Crowding()


def candidate_sql(images: str, due: str, crowding: Crowding = CROWDING) -> str:
    """SQL: the pairs (a, b), a < b, to compare, of which at least one is in `due`, a relation of (image_id).

    `images` is a relation of (image_id, phash, keys, width_px, height_px, bytes) and of all that a proof reads
    besides: (thumb, fine, text).
    """
    return f"""
WITH {_crowded(images, crowding)},
placed AS (
  SELECT image_id, aspect, key, false AS capped FROM listed ANTI JOIN hot USING (key)
  UNION ALL SELECT image_id, aspect, key, capped FROM crowded
),
asked AS (SELECT *, image_id IN (SELECT image_id FROM {due}) AS due FROM placed),
met AS (
  SELECT l.image_id AS one, r.image_id AS other, l.aspect / r.aspect AS stretch
  FROM asked l JOIN asked r USING (key)
  WHERE l.due AND NOT l.capped AND l.image_id <> r.image_id AND (l.image_id < r.image_id OR r.capped OR NOT r.due)
  UNION ALL
  SELECT l.image_id, r.image_id, l.aspect / r.aspect
  FROM (SELECT * FROM asked WHERE due AND capped) l JOIN (SELECT * FROM asked WHERE NOT (due OR capped)) r USING (key)
  UNION ALL
  SELECT image_id, twin_of, 1.0 FROM twins
  WHERE image_id IN (SELECT image_id FROM {due}) OR twin_of IN (SELECT image_id FROM {due})
)
SELECT DISTINCT least(one, other) AS a, greatest(one, other) AS b FROM met
WHERE greatest(stretch, 1 / stretch) <= {MAX_ASPECT} ORDER BY a, b"""


def roles_sql(images: str, crowding: Crowding = CROWDING) -> str:
    """SQL: (image_id, role, hot_buckets) of the images that the cap touches; `hot_buckets` is how many there are.

    Two images that are both compared as before have the same roles as before, and the other way round: an image
    is compared under its keys but for those where it is capped, and with the twin it follows. The others have no
    row here: their role is to be compared under all of their keys.
    """
    return f"""
WITH {_crowded(images, crowding)}
SELECT image_id, md5(string_agg(key::VARCHAR, ' ' ORDER BY key) || coalesce(' ' || any_value(twin_of), '')) AS role,
       (SELECT count(*) FROM hot) AS hot_buckets
FROM crowded WHERE capped GROUP BY image_id ORDER BY image_id"""


def _crowded(images: str, crowding: Crowding) -> str:
    """CTEs `listed`, `hot`, `twins` and `crowded`: the members of hot buckets, and whether each is capped there.

    A pivot that is not the largest could take members that its own representative never met: hence the order.
    """
    alike = "phash, keys, width_px, height_px"
    return f"""
listed AS NOT MATERIALIZED (
  SELECT image_id, width_px / greatest(height_px, 1) AS aspect, width_px::BIGINT * height_px AS pixels, bytes,
         unnest(keys) AS key FROM {images}
),
hot AS MATERIALIZED (SELECT key FROM listed GROUP BY key HAVING count(*) > {crowding.cap}),
crowd AS MATERIALIZED (SELECT * FROM listed SEMI JOIN hot USING (key)),
suspects AS MATERIALIZED (
  SELECT image_id FROM (SELECT image_id, count(*) OVER (PARTITION BY {alike}) AS n
                        FROM {images} SEMI JOIN crowd USING (image_id)) WHERE n > 1
),
twins AS MATERIALIZED (
  SELECT image_id, twin_of FROM (
    SELECT image_id, first_value(image_id) OVER (
      PARTITION BY {alike}, thumb, fine, text ORDER BY bytes DESC, image_id) AS twin_of
    FROM {images} SEMI JOIN suspects USING (image_id)) WHERE twin_of <> image_id
),
crowded AS MATERIALIZED (
  SELECT image_id, aspect, key, twin_of, twin_of IS NOT NULL OR row_number() OVER (
    PARTITION BY key, twin_of IS NULL ORDER BY pixels DESC, bytes DESC, image_id) > {crowding.pivots} AS capped
  FROM crowd LEFT JOIN twins USING (image_id)
)"""
