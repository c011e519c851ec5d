"""Near duplicates: candidates by look-up keys, a second proof for each pair, groups without chains.

Candidates are pairs that share a key of `score_phash.keys` (see `filters.scorers.phash`). One band of a 64-bit
hash cannot do it: a 5 % crop moves up to 16 of its 64 bits, an overlay on a poster up to 32. The keys are 20
to 24 signs of low frequencies, of the picture, of two virtual crops of it (so that a crop meets the whole it
was cut from) and of its four quarters (so that an overlay leaves three of them alone). Of 239 real pictures
and their copies, 97 to 99 % shared a key (re-encoded, halved, overlaid, 5 % cropped; blank pages have no keys),
and all 141 planted pairs did; unrelated crops of real pictures share one in 3.2 of 10,000 pairs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from filters.duplicate_proof import Fit, Picture, Warp, align, contrast, fit, warped
from filters.duplicate_words import words_agree, words_equal

METHOD_VERSION = "near-1"

THUMB_PX, CHROMA_PX, FINE_PX = 32, 8, 96
# A bucket of more images than this says nothing ("white page"): its pairs are skipped and reported. Our choice.
BUCKET_CAP = 200
# width / height of two copies may differ by what a crop of one side does. Our choice.
MAX_ASPECT = 1.13


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The largest misfit of one picture. Shares are of the overlap; calibrated on planted and real pictures."""

    differing: float
    beyond_overlay: float
    correlation: float


# Planted copies measured at most 0.038 / 0.012 and at least 0.92. Look-alike posters pass: they are for FINE.
COARSE = Limits(differing=0.06, beyond_overlay=0.012, correlation=0.9)
# Text-dense, beyond the overlay: planted copies at most 0.0017, posters of one template at least 0.0021. A thin
# margin, held on a second seed; where both were read, the words widen it.
FINE = Limits(differing=0.06, beyond_overlay=0.0018, correlation=0.9)
# What may differ at 96 px where every word was read alike on both: small text moved by a fraction of a pixel.
READ = Limits(differing=0.06, beyond_overlay=0.02, correlation=0.9)
# Deviation (levels) below which a thumbnail shows nothing to prove by: an almost empty page. Our choice.
MIN_CONTRAST = 3.0
# Mean colour of an 8 x 8 cell: this far apart (levels of Cb or Cr) in more than this share of cells is another colour,
# beyond a share of the local contrast, which shifts by a fraction of a cell explain. Our choice.
CHROMA_STEP, CHROMA_SHARE, CHROMA_CONTRAST = 14, 0.1, 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class DuplicateEvidence:
    """What is stored of one image that the proof reads: columns of score_phash, score_ocr and images.

    `text` is what the OCR pass read, None where it did not run or cannot read the script.
    """

    image_id: str
    phash: int
    thumb: bytes
    fine: bytes | None
    width_px: int
    height_px: int
    text: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """Why two images are one picture. `distance`: differing bits of 64; `value`: share of pixels that differ, 0..1."""

    distance: int
    proof: str
    value: float


def hamming(a: int, b: int) -> int:
    """Differing bits of two signed 64-bit hashes."""
    return ((a ^ b) & 0xFFFF_FFFF_FFFF_FFFF).bit_count()


def prove(a: DuplicateEvidence, b: DuplicateEvidence) -> Proof | None:
    """The second proof, or None where the two are different pictures. Symmetric; an image matches itself.

    Everything must fit at 32 px, but for a compact overlay; colours must agree. Where both are text-dense the
    same is asked at 96 px; where both were read, the words must agree, and equal words make up for blurred ones.
    """
    first, second = sorted((a, b), key=lambda e: (e.thumb, e.fine or b"", e.width_px, e.height_px, e.image_id))
    distance = hamming(a.phash, b.phash)
    if _aspect(first, second) > MAX_ASPECT or (_blank(first) and a.image_id != b.image_id):
        return None
    warp = align(_luma(first), _luma(second))
    coarse = fit(_luma(first), _luma(second), warp) if warp is not None else None
    if coarse is None or not _within(coarse, COARSE) or not _same_colours(first, second, coarse.warp):
        return None
    if first.fine is None or second.fine is None:
        return Proof(distance=distance, proof="thumbnail", value=coarse.differing)
    warp = align(_fine(first.fine), _fine(second.fine), coarse.warp)
    close = fit(_fine(first.fine), _fine(second.fine), warp) if warp is not None else None
    if close is None:
        return None
    if a.text is None or b.text is None:
        return Proof(distance=distance, proof="fine_thumbnail", value=close.differing) if _within(close, FINE) else None
    if not (
        words_agree(a.text, b.text) if _within(close, FINE) else _within(close, READ) and words_equal(a.text, b.text)
    ):
        return None
    return Proof(distance=distance, proof="words", value=close.differing)


def candidate_sql(source: str, cap: int = BUCKET_CAP) -> str:
    """DuckDB SQL: pairs (a, b), a < b, that share a key.

    `source` is a relation of (image_id, keys, width_px, height_px).
    Buckets of more than `cap` images are left out; `hot_buckets_sql` tells which.
    """
    return f"""
with keyed as (select image_id, width_px / greatest(height_px, 1) as aspect, unnest(keys) as key from {source}),
sized as (select key from keyed group by key having count(*) between 2 and {int(cap)}),
narrow as (select k.image_id, k.aspect, k.key from keyed k join sized s using (key))
select distinct l.image_id as a, r.image_id as b
from narrow l join narrow r on l.key = r.key and l.image_id < r.image_id
where greatest(l.aspect / r.aspect, r.aspect / l.aspect) <= {MAX_ASPECT}
"""


def hot_buckets_sql(source: str, cap: int = BUCKET_CAP) -> str:
    """DuckDB SQL: (key, images) of the buckets that `candidate_sql` leaves out, largest first."""
    return f"""
select key, count(*) as images from (select image_id, unnest(keys) as key from {source})
group by key having count(*) > {int(cap)} order by images desc, key
"""


def groups(
    edges: Iterable[tuple[str, str, Proof]], order: Sequence[tuple[str, int, int]]
) -> dict[str, tuple[str, int, str]]:
    """Members to (representative, distance, proof): greedy from the largest, each member proven directly.

    `order` holds (image_id, pixels, bytes) in any order; the largest picture, then the heaviest file, then the
    smallest id is looked at first and takes every image that has an edge to it and no representative yet. So
    there are no chains, and the outcome does not depend on the order of arrival.
    """
    beside: dict[str, dict[str, Proof]] = {}
    for a, b, proof in edges:
        beside.setdefault(a, {})[b] = proof
        beside.setdefault(b, {})[a] = proof
    ranked = sorted(
        (entry for entry in order if entry[0] in beside), key=lambda entry: (-entry[1], -entry[2], entry[0])
    )
    members: dict[str, tuple[str, int, str]] = {}
    representatives: set[str] = set()
    known = {image_id for image_id, _, _ in ranked}
    for image_id, _, _ in ranked:
        if image_id in members:
            continue
        representatives.add(image_id)
        for other, proof in beside[image_id].items():
            if other in known and other not in members and other not in representatives:
                members[other] = (image_id, proof.distance, proof.proof)
    return members


def evidence_rows(rows: Iterable[Mapping[str, object]]) -> dict[str, DuplicateEvidence]:
    """Evidence by image_id from joined rows that have its fields as columns."""
    fields = DuplicateEvidence.__dataclass_fields__
    return {str(row["image_id"]): DuplicateEvidence(**{name: row[name] for name in fields}) for row in rows}  # type: ignore[arg-type]


def _within(found: Fit, limits: Limits) -> bool:
    return (
        found.differing <= limits.differing
        and found.beyond_overlay <= limits.beyond_overlay
        and found.correlation >= limits.correlation
    )


def _aspect(a: DuplicateEvidence, b: DuplicateEvidence) -> float:
    ratio = a.width_px * b.height_px / (a.height_px * b.width_px)
    return max(ratio, 1 / ratio)


def _luma(evidence: DuplicateEvidence) -> Picture:
    pixels = np.frombuffer(evidence.thumb, np.uint8, THUMB_PX * THUMB_PX)
    return pixels.reshape(THUMB_PX, THUMB_PX).astype(np.float32)


def _fine(data: bytes) -> Picture:
    return np.frombuffer(data, np.uint8).reshape(FINE_PX, FINE_PX).astype(np.float32)


def _blank(evidence: DuplicateEvidence) -> bool:
    return float(_luma(evidence).std()) < MIN_CONTRAST


def _same_colours(a: DuplicateEvidence, b: DuplicateEvidence, warp: Warp) -> bool:
    apart = np.zeros((CHROMA_PX, CHROMA_PX), np.float32)
    for still, moving in zip(_chroma(a), _chroma(b), strict=True):
        moved = warped(moving, warp)
        excess = np.abs(still - moved) - CHROMA_CONTRAST * np.maximum(contrast(still), contrast(moved))
        apart = np.maximum(apart, excess)
    return float((apart > CHROMA_STEP).mean()) <= CHROMA_SHARE


def _chroma(evidence: DuplicateEvidence) -> Picture:
    """Cb and Cr: 2 x 8 x 8."""
    values = np.frombuffer(evidence.thumb, np.uint8, offset=THUMB_PX * THUMB_PX)
    return values.reshape(2, CHROMA_PX, CHROMA_PX).astype(np.float32)
