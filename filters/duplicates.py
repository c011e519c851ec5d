"""Near duplicates: a second proof for each candidate pair, and groups without chains.

Which pairs are candidates is told in `filters.duplicate_candidates`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from filters.duplicate_candidates import MAX_ASPECT
from filters.duplicate_proof import IDENTITY, Fit, Picture, Warp, align, contrast, fit, warped
from filters.duplicate_words import words_agree, words_equal

# Of the proof and of who is compared with whom: what another version has compared is compared again.
METHOD_VERSION = "near-3"

THUMB_PX, CHROMA_PX, FINE_PX = 32, 8, 96

# Planted copies measured at most 0.038 / 0.012 / 0.16 and at least 0.92. Look-alike posters pass: they are for FINE.
# `of_content` is for pages with one word on them, which a window of the size of an overlay covers whole: two such
# pages had 0.36, copies of real pictures at most 0.21 (of such pages up to 0.76: those are not proven).
COARSE = Fit(differing=0.06, beyond_overlay=0.012, of_content=0.25, correlation=0.9)
# Text-dense, beyond the overlay: planted copies at most 0.0017, posters of one template at least 0.0021. A thin
# margin, held on other seeds (3,660 pairs of unread look-alikes); where both were read, the words widen it.
FINE = Fit(differing=0.06, beyond_overlay=0.0018, of_content=1.0, correlation=0.9)
# What may differ at 96 px where every word was read alike on both: small text moved by a fraction of a pixel.
READ = Fit(differing=0.06, beyond_overlay=0.02, of_content=1.0, correlation=0.9)
# At 32 px, before any search: of 2,981 real and planted copies, crops and overlays one differed in 0.41, all others in
# less; of unrelated photos three of four did in more than 0.47. These need no search. Our choice.
UNLIKE = 0.45
# At 32 px, before 96 px are looked at: a crop may be found to a pixel there and to the last tenth here. Our choice.
LOOSE = Fit(differing=0.06, beyond_overlay=0.06, of_content=1.0, correlation=0.9)
# Beyond the overlay at 96 px: copies that one direction of the search had missed were below 1.5 times the limit,
# but for one, posters of one template in 80 pairs above 2.8 times. Further off, the other direction is not tried.
NEARLY = 2.0
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

    Everything must fit at 32 px, but for a compact overlay; colours must agree. Where one is text-dense and both were
    read, the words must agree; where both are, the same is asked at 96 px, and equal words make up for blurred ones.
    """
    first, second = sorted((a, b), key=lambda e: (e.thumb, e.fine or b"", e.width_px, e.height_px, e.image_id))
    if _aspect(first, second) > MAX_ASPECT or (_blank(first) and a.image_id != b.image_id):
        return None
    equal = (first.thumb, first.fine) == (second.thumb, second.fine)
    as_is = None if equal else fit(_luma(first), _luma(second), IDENTITY, UNLIKE)
    asked = _asked(first, second) if equal or as_is is not None else None
    if asked is None:
        return None
    kind, limits = asked
    differing = 0.0 if as_is is None else _differing(first, second, as_is, limits)
    return None if differing is None else Proof(distance=hamming(a.phash, b.phash), proof=kind, value=differing)


def groups(
    edges: Iterable[tuple[str, str, Proof]], order: Iterable[tuple[str, int, int]]
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


def _asked(a: DuplicateEvidence, b: DuplicateEvidence) -> tuple[str, Fit | None] | None:
    """The name of the proof and what is asked at 96 px, if anything; None where no pixels can prove the pair."""
    if a.fine is None and b.fine is None:
        return "thumbnail", None
    if a.text is not None and b.text is not None and not words_agree(a.text, b.text):
        return None
    if a.fine is None or b.fine is None:  # a small copy of a poster has strokes too faint to be text-dense
        return "thumbnail", None
    if a.text is None or b.text is None:
        return "fine_thumbnail", FINE
    return "words", READ if words_equal(a.text, b.text) else FINE


def _differing(a: DuplicateEvidence, b: DuplicateEvidence, as_is: Fit, limits: Fit | None) -> float | None:
    """The share of pixels that differ under the first warp that shows one picture: none, then a searched one.

    `as_is` is the fit at 32 px without a warp, `limits` are for 96 px. An overlay can pull the search off, mostly in
    one direction alone: hence both.
    """
    if as_is.within(COARSE) and _same_colours(a, b, IDENTITY):
        close = as_is if limits is None else fit(_fine(a), _fine(b), IDENTITY)
        if close is not None and close.within(limits or COARSE):
            return close.differing
    for still, moving in ((a, b), (b, a)):
        found = _searched(still, moving) if limits is None else _searched_close(still, moving, limits)
        if found is not None and found.within(limits or COARSE):
            return found.differing
        if found is not None and limits is not None and found.beyond_overlay > NEARLY * limits.beyond_overlay:
            return None
    return None


def _searched(still: DuplicateEvidence, moving: DuplicateEvidence, start: Warp | None = None) -> Fit | None:
    """How the two fit at 32 px under a warp, where none is given the one that is found; None where colours differ."""
    warp = align(_luma(still), _luma(moving)) if start is None else start
    found = None if warp is None else fit(_luma(still), _luma(moving), warp, COARSE.differing)
    return found if warp is not None and found is not None and _same_colours(still, moving, warp) else None


def _searched_close(still: DuplicateEvidence, moving: DuplicateEvidence, limits: Fit) -> Fit | None:
    """How the two fit at 96 px under the warp that is found; None where 32 px rule out that it shows one picture."""
    rough = align(_luma(still), _luma(moving))
    loose = None if rough is None else fit(_luma(still), _luma(moving), rough, LOOSE.differing)
    warp = align(_fine(still), _fine(moving), rough) if loose is not None and loose.within(LOOSE) else None
    if warp is None:
        return None
    found = fit(_fine(still), _fine(moving), warp)
    if found is not None and found.within(limits):
        coarse = _searched(still, moving, warp)
        return found if coarse is not None and coarse.within(COARSE) else None
    return found


def _aspect(a: DuplicateEvidence, b: DuplicateEvidence) -> float:
    ratio = a.width_px * b.height_px / (a.height_px * b.width_px)
    return max(ratio, 1 / ratio)


def _luma(evidence: DuplicateEvidence) -> Picture:
    pixels = np.frombuffer(evidence.thumb, np.uint8, THUMB_PX * THUMB_PX)
    return pixels.reshape(THUMB_PX, THUMB_PX).astype(np.float32)


def _fine(evidence: DuplicateEvidence) -> Picture:
    assert evidence.fine is not None  # asked of text-dense pictures alone
    return np.frombuffer(evidence.fine, np.uint8).reshape(FINE_PX, FINE_PX).astype(np.float32)


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
