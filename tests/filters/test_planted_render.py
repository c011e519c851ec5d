import hashlib
import io
from collections import Counter
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps, UnidentifiedImageError

from filters.planted import edits, layouts, plan
from filters.planted.render import render
from filters.planted.scenes import SCENES, photo
from filters.planted.truth import IMAGES_FOLDER, Planted, load_truth
from flywheel.records import Reason

IMAGES = 90


@pytest.fixture(scope="module")
def planted_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("planted")
    render(root, seed=3, images=IMAGES)
    return root


@pytest.fixture(scope="module")
def truth(planted_root: Path) -> list[Planted]:
    return load_truth(planted_root)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def upright_grey(path: Path, size: tuple[int, int] | None = None) -> np.ndarray:
    with Image.open(path) as image:
        grey = ImageOps.exif_transpose(image).convert("RGB").convert("L")
        if size is not None:
            grey = grey.resize(size, Image.Resampling.BOX)
    return np.asarray(grey, np.float32)


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(cv2.matchTemplate(a, b, cv2.TM_CCOEFF_NORMED).max())


def laplacian(pixels: np.ndarray) -> float:
    """Edges without the grain: the second derivative after a small median."""
    return float(cv2.Laplacian(cv2.medianBlur(pixels.astype(np.uint8), 5), cv2.CV_32F).var())


def test_same_seed_same_bytes(tmp_path: Path, planted_root: Path, truth: list[Planted]) -> None:
    steps: list[tuple[int, int]] = []
    again = render(tmp_path, seed=3, images=IMAGES, progress=lambda done, total: steps.append((done, total)))
    assert again == truth
    assert steps == [(k + 1, IMAGES) for k in range(IMAGES)]
    assert {i.path: sha256(tmp_path / i.path) for i in again} == {i.path: sha256(planted_root / i.path) for i in truth}


def test_another_seed_other_pictures() -> None:
    a, b = (photo(np.random.default_rng(seed), 96, 96, scene="leaves") for seed in (1, 2))
    assert correlation(np.asarray(a.convert("L"), np.float32), np.asarray(b.convert("L"), np.float32)) < 0.8


def test_every_file_has_its_truth(planted_root: Path, truth: list[Planted]) -> None:
    files = {
        p.relative_to(planted_root).as_posix() for p in (planted_root / IMAGES_FOLDER).rglob("*") if not p.is_dir()
    }
    assert files == {item.path for item in truth}
    assert len(truth) == IMAGES


@pytest.mark.parametrize("images", [60, 90, 400, 1000])
def test_counts_add_up_to_what_was_asked(images: int) -> None:
    counts = plan.counts(images)
    assert sum(counts.values()) + plan.HOSTILE_FILES == images
    assert min(counts.values()) >= 2


def test_default_size_is_enough_to_judge_by() -> None:
    counts = plan.counts(plan.DEFAULT_IMAGES)
    assert counts["poster"] >= 60
    assert min(counts[fault] for fault in ("blur", "flat", "noise", "compression")) >= 20  # one miss is above 0.95
    assert counts["near_photo"] + counts["near_layout"] >= 50


def test_too_small_a_set_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 60"):
        plan.counts(59)


def test_exact_duplicates_are_the_same_bytes_and_nothing_else_is(planted_root: Path, truth: list[Planted]) -> None:
    by_bytes: dict[str, set[str]] = {}
    for item in truth:
        if item.decodes:
            by_bytes.setdefault(sha256(planted_root / item.path), set()).add(item.exact_duplicate_of or item.path)
    assert all(len(originals) == 1 for originals in by_bytes.values())
    assert sum(1 for item in truth if item.exact_duplicate_of) == plan.counts(IMAGES)["exact"]


def test_what_should_decode_decodes_to_the_size_in_the_truth(planted_root: Path, truth: list[Planted]) -> None:
    for item in truth:
        if not item.decodes:
            continue
        with Image.open(planted_root / item.path) as image:
            image.load()
            assert image.getexif().get(edits.EXIF_ORIENTATION, 1) == item.exif_orientation
            assert ImageOps.exif_transpose(image).size == (item.width_px, item.height_px)


def test_turned_copies_are_their_originals_upright(planted_root: Path, truth: list[Planted]) -> None:
    turned = [item for item in truth if item.exif_orientation != 1]
    assert len(turned) == plan.counts(IMAGES)["exif"]
    for item in turned:
        original = upright_grey(planted_root / str(item.near_duplicate_of))
        assert np.abs(upright_grey(planted_root / item.path) - original).mean() < 6
        with Image.open(planted_root / item.path) as stored:
            as_stored = np.asarray(stored.convert("L").resize(original.shape[::-1]), np.float32)
        assert np.abs(as_stored - original).mean() > 10


@pytest.mark.parametrize("orientation", range(1, 9))
def test_each_orientation_is_stored_so_that_pillow_turns_it_back(orientation: int) -> None:
    image = photo(np.random.default_rng(orientation), 60, 40, scene="city")
    data = edits.encode(image, edits.Encoding(format="PNG", orientation=orientation))
    with Image.open(io.BytesIO(data)) as stored:
        assert np.array_equal(np.asarray(ImageOps.exif_transpose(stored)), np.asarray(image))


def test_near_duplicates_show_the_same_picture(planted_root: Path, truth: list[Planted]) -> None:
    near = [item for item in truth if item.family.startswith("near_")]
    assert {item.edit for item in near} == set(edits.EDITS)
    for item in near:
        assert not item.faults
        original = upright_grey(planted_root / str(item.near_duplicate_of), (200, 200))
        side = 190 if "crop" in str(item.edit) else 200
        copy = upright_grey(planted_root / item.path, (side, side))
        assert correlation(original, copy) > 0.85, item
        assert sha256(planted_root / item.path) != sha256(planted_root / str(item.near_duplicate_of))


def test_photos_are_distinct_pictures(planted_root: Path, truth: list[Planted]) -> None:
    small = [upright_grey(planted_root / i.path, (32, 32)) for i in truth if i.family == "photo"]
    assert max(correlation(a, b) for a, b in combinations(small, 2)) < 0.95


def test_originals_of_near_duplicates_are_clean(truth: list[Planted]) -> None:
    by_path = {item.path: item for item in truth}
    for item in truth:
        source = item.exact_duplicate_of or item.near_duplicate_of
        assert source is None or (by_path[source].decodes and not by_path[source].faults and not item.faults)


def test_posters_of_a_series_differ_in_words_alone() -> None:
    looks = np.random.default_rng(5)
    template = layouts.poster_template(looks, 600, 900)
    wordings = [layouts.poster_wording(np.random.default_rng(seed)) for seed in range(8)]
    pages = [np.asarray(layouts.poster(template, wording), np.int16) for wording in wordings]
    assert len({wording.title for wording in wordings}) > 6
    for (one, a), (other, b) in combinations(zip(wordings, pages, strict=True), 2):
        changed = float((np.abs(a - b).max(axis=2) > 40).mean())
        assert one != other
        assert 0.002 < changed < 0.25


def test_posters_in_the_set_all_say_something_else(planted_root: Path, truth: list[Planted]) -> None:
    posters = [item for item in truth if item.family == "poster"]
    series = Counter(item.series for item in posters)
    assert max(series.values()) == plan.POSTERS_A_SERIES
    pages = [upright_grey(planted_root / item.path) for item in posters]
    for (one, a), (other, b) in combinations(zip(posters, pages, strict=True), 2):
        if one.series == other.series:
            assert (np.abs(a - b) > 40).mean() > 0.002, (one.path, other.path)


def test_truncated_files_fail_in_pillow(planted_root: Path, truth: list[Planted]) -> None:
    cut = [item for item in truth if item.family == "truncated"]
    assert cut
    for item in cut:
        assert item.expected == Reason.TRUNCATED
        with pytest.raises((OSError, SyntaxError)), Image.open(planted_root / item.path) as image:
            image.load()


def test_hostile_files_are_hostile_and_cheap(planted_root: Path, truth: list[Planted]) -> None:
    by_name = {Path(item.path).name: item for item in truth if item.family == "hostile"}
    folder = planted_root / IMAGES_FOLDER / "hostile"
    assert len(by_name) == plan.HOSTILE_FILES
    assert sum((folder / name).lstat().st_size for name in by_name) < 2_000_000
    for name in ("page.jpg", "notes.png", "empty.jpg"):
        with pytest.raises(UnidentifiedImageError):
            Image.open(folder / name)
    for name in ("bomb.png", "lying.jpg"):
        with pytest.raises(Image.DecompressionBombError):
            Image.open(folder / name)
    assert by_name["bomb.png"].also_right == {Reason.SIDE_TOO_LONG}
    link = folder / "link.jpg"
    assert link.is_symlink()
    assert (planted_root / IMAGES_FOLDER).resolve() not in link.resolve().parents
    assert link.resolve().is_file()


@pytest.mark.parametrize("scene", sorted(SCENES))
def test_each_fault_shows_on_each_scene(scene: str) -> None:
    rng = np.random.default_rng(11)
    clean = photo(rng, 640, 480, scene=scene)
    grey = np.asarray(clean.convert("L"), np.float32)
    assert grey.std() > 12
    assert laplacian(np.asarray(edits.fault_blur(rng, clean).convert("L"))) < 0.4 * laplacian(grey)
    noisy = np.asarray(edits.fault_noise(rng, clean), np.float32) - np.asarray(clean, np.float32)
    assert noisy.std() > 14
    with Image.open(io.BytesIO(edits.fault_compression(rng, clean))) as worse:
        assert max(worse.quantization[0]) > 250
        assert worse.size == clean.size


@pytest.mark.parametrize("kind", range(4))
def test_flat_images_are_flat(kind: int) -> None:
    for seed in range(5):
        pixels = np.asarray(edits.flat_image(np.random.default_rng(seed), 300, 200, kind), np.float32)
        assert np.median(np.abs(pixels - np.median(pixels, axis=(0, 1)))) < 5


def test_odd_modes_survive_storage() -> None:
    image = layouts.design(np.random.default_rng(1), 64, 48)
    for encoding in plan.ODD_ENCODINGS:
        with Image.open(io.BytesIO(edits.encode(image, encoding))) as stored:
            assert stored.size == image.size
            assert stored.mode == encoding.mode
