"""Near duplicates: planted copies are found and proven, look-alikes are not, groups have no order and no chains."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import combinations
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from filters.duplicates import (
    DuplicateEvidence,
    Proof,
    groups,
    hamming,
    prove,
)
from filters.planted import layouts, words
from filters.planted.edits import EDITS
from filters.planted.scenes import SCENES, photo
from filters.scorers import measure_scaled
from flywheel.images.views import ScaledView
from flywheel.records import ImageFacts


def row_of(image: Image.Image) -> dict[str, Any]:
    pixels = np.asarray(image.convert("RGB"))
    factor = max(1, min(pixels.shape[:2]) // 300)
    small = cv2.resize(pixels, (pixels.shape[1] // factor, pixels.shape[0] // factor), interpolation=cv2.INTER_AREA)
    facts = ImageFacts(
        image_id="", format="PNG", mode="RGB", width_px=image.width, height_px=image.height, exif_orientation=1, bytes=1
    )
    view = ScaledView(rgb=small, scale=float(factor), facts=facts, jpeg_tables=None, had_alpha=False)
    return dict(measure_scaled(view, ["phash"])["phash"])


def evidence(image_id: str, image: Image.Image, text: str | None = None) -> DuplicateEvidence:
    row = row_of(image)
    return DuplicateEvidence(
        image_id=image_id,
        phash=row["phash"],
        thumb=row["thumb"],
        fine=row["fine"],
        width_px=image.width,
        height_px=image.height,
        text=text,
    )


def shares_a_key(a: Image.Image, b: Image.Image) -> bool:
    return bool(set(row_of(a)["keys"]) & set(row_of(b)["keys"]))


@pytest.mark.parametrize("edit", sorted(EDITS))
@pytest.mark.parametrize("scene", sorted(SCENES))
def test_an_edited_photo_is_a_candidate_and_is_proven(edit: str, scene: str) -> None:
    rng = np.random.default_rng(5)
    original = photo(rng, 640, 480, scene=scene)
    edited, _ = EDITS[edit](rng, original)
    assert shares_a_key(original, edited)
    assert prove(evidence("a", original), evidence("b", edited)) is not None


def test_different_photos_are_not_proven() -> None:
    shots = [photo(np.random.default_rng(seed), 480, 360, scene="landscape") for seed in range(6)]
    for a, b in combinations(shots, 2):
        assert prove(evidence("a", a), evidence("b", b)) is None


def posters(count: int) -> list[Image.Image]:
    looks = np.random.default_rng(8)
    template, shared = layouts.poster_template(looks, 600, 900), layouts.poster_wording(looks)
    made = []
    for number in range(count):
        own = layouts.poster_wording(np.random.default_rng([8, number]))
        words = layouts.Wording(title=own.title, subtitle=shared.subtitle, lines=shared.lines, foot=own.foot)
        made.append(layouts.poster(template, words))
    return made


def test_posters_that_differ_in_title_and_foot_stay_apart() -> None:
    """Most of them share keys, so the proof alone keeps them apart."""
    made = posters(7)
    assert any(shares_a_key(a, b) for a, b in combinations(made, 2))
    for a, b in combinations(made, 2):
        assert prove(evidence("a", a), evidence("b", b)) is None


def test_an_overlaid_poster_is_the_same_poster() -> None:
    original = posters(1)[0]
    edited, _ = EDITS["overlay"](np.random.default_rng(2), original)
    proof = prove(evidence("a", original), evidence("b", edited))
    assert proof is not None
    assert proof.proof == "fine_thumbnail"


@pytest.mark.parametrize("seed", [9, 14])
def test_an_overlay_that_pulls_the_search_off_is_seen_through(seed: int) -> None:
    """Laid on each other as they are, the two fit; the search from one of them settles elsewhere."""
    original = layouts.slide(
        np.random.default_rng(seed), 1024, 576, layouts.slide_wording(np.random.default_rng([seed, 2]))
    )
    edited, _ = EDITS["overlay"](np.random.default_rng([seed, 1]), original)
    assert prove(evidence("a", original), evidence("b", edited)) is not None


def test_the_costly_search_is_for_pairs_that_it_can_decide(monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy that lies as it lay, and a picture that has nothing in common, are told without it."""
    monkeypatch.setattr("filters.duplicates.align", lambda *_: pytest.fail("searched"))
    original = posters(1)[0]
    edited, _ = EDITS["overlay"](np.random.default_rng(2), original)
    assert prove(evidence("a", original), evidence("b", edited)) is not None
    shots = [photo(np.random.default_rng(seed), 480, 360, scene=scene) for seed, scene in enumerate(("city", "flower"))]
    assert prove(evidence("a", shots[0]), evidence("b", shots[1])) is None
    monkeypatch.setattr("filters.duplicates.fit", lambda *_: pytest.fail("compared"))
    assert prove(evidence("a", original), evidence("b", original)) is not None


@pytest.mark.parametrize(("seed", "size"), [(13, (512, 512)), (22, (512, 512)), (26, (724, 1024))])
def test_a_crop_that_one_direction_of_the_search_misses_is_found(seed: int, size: tuple[int, int]) -> None:
    looks = np.random.default_rng(seed)
    original = layouts.poster(layouts.poster_template(looks, *size), layouts.poster_wording(looks))
    edited, _ = EDITS["crop"](np.random.default_rng([seed, 1]), original)
    assert prove(evidence("a", original), evidence("b", edited)) is not None


@pytest.mark.parametrize("seed", [0, 1, 3])
def test_a_crop_of_a_picture_with_dark_corners_is_found(seed: int) -> None:
    """What is left is brighter than the whole, and of less contrast: no warp may make up for that."""
    sharp = np.asarray(photo(np.random.default_rng(seed), 640, 480, scene="city"))
    y, x = np.mgrid[-1:1:480j, -1:1:640j]
    dark = Image.fromarray((sharp * (1 - ((x**2 + y**2) / 2) ** 1.5)[..., None]).astype(np.uint8))
    assert prove(evidence("a", dark), evidence("b", dark.crop((32, 24, 608, 456)))) is not None


def test_two_words_on_empty_pages_are_two_pages() -> None:
    """The window that an overlay is allowed would cover all there is to see."""
    pages = []
    for word in ("raj", "tieng"):
        page = Image.new("RGB", (600, 200), "white")
        ImageDraw.Draw(page).text((100, 110), word, font=words.font(52), fill="black")
        pages.append(page)
    a, b = (evidence(name, page) for name, page in zip("ab", pages, strict=True))
    assert a.fine is None
    assert prove(a, b) is None
    assert prove(a, evidence("c", pages[0].resize((300, 100)))) is not None


def test_words_part_what_thumbnails_cannot_and_prove_what_they_can() -> None:
    original = posters(1)[0]
    read = "summer music festival in the old harbour with twelve bands and free entry"
    other = "winter chess congress under new bridge featuring seven masters plus paid seats"
    same = prove(evidence("a", original, read), evidence("b", original, read + " sponsored"))
    assert same is not None
    assert same.proof == "words"
    assert prove(evidence("a", original, read), evidence("b", original, other)) is None


def test_words_part_a_small_poster_whose_strokes_are_faint_from_a_large_one() -> None:
    """Halved, a poster may fall below the density from which the fine thumbnail is kept: 32 px would merge the two."""
    one = posters(1)[0]
    first, second = "first night at the harbour hall 2024", "summer market under the old bridge 2026"
    large, faint = evidence("a", one, first), replace(evidence("b", one, second), fine=None)
    assert large.fine is not None
    assert prove(large, faint) is None
    assert prove(large, replace(faint, text=first)) is not None
    assert prove(large, replace(faint, text=None)) is not None, "unread, the thumbnail decides"
    assert prove(replace(large, fine=None), faint) is not None, "without dense text words are chance readings"


def test_a_recoloured_picture_is_another_picture() -> None:
    original = photo(np.random.default_rng(4), 480, 360, scene="flower")
    blue = Image.fromarray(np.asarray(original)[..., ::-1].copy())
    assert prove(evidence("a", original), evidence("b", blue)) is None


@settings(max_examples=25, deadline=None)
@given(seeds=st.tuples(st.integers(0, 50), st.integers(0, 50)), scene=st.sampled_from(sorted(SCENES)))
def test_proof_is_symmetric_and_a_picture_matches_itself(seeds: tuple[int, int], scene: str) -> None:
    a, b = (evidence(f"{n}", photo(np.random.default_rng(seed), 256, 256, scene=scene)) for n, seed in enumerate(seeds))
    assert prove(a, b) == prove(b, a)
    itself = prove(a, a)
    assert itself is not None
    assert (itself.distance, itself.value) == (0, 0.0)


def test_hamming_counts_bits_of_signed_patterns() -> None:
    assert hamming(-1, 0) == 64
    assert hamming(-(2**63), 0) == 1


EDGES = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)).filter(lambda e: e[0] != e[1]), max_size=40)


@given(edges=EDGES, sizes=st.lists(st.integers(1, 4), min_size=13, max_size=13), seed=st.integers(0, 9))
def test_groups_need_no_order_and_hold_no_chains(edges: list[tuple[int, int]], sizes: list[int], seed: int) -> None:
    pairs = sorted({(f"{min(e):02}", f"{max(e):02}") for e in edges})
    proof = Proof(distance=3, proof="thumbnail", value=0.0)
    order = [(f"{n:02}", size, 7) for n, size in enumerate(sizes)]
    found = groups([(a, b, proof) for a, b in pairs], order)
    shuffled_pairs, shuffled_order = pairs[:], order[:]
    random.Random(seed).shuffle(shuffled_pairs)
    random.Random(seed + 1).shuffle(shuffled_order)
    assert groups([(b, a, proof) for a, b in shuffled_pairs], shuffled_order) == found
    rank = {image_id: (-pixels, image_id) for image_id, pixels, _ in order}
    for member, (representative, _, _) in found.items():
        assert tuple(sorted((member, representative))) in pairs
        assert representative not in found
        assert rank[representative] < rank[member]
    kept = {f"{n:02}" for n in range(13)} - set(found)
    assert not any({a, b} <= kept for a, b in pairs)
