"""The duplicates step over stored rows: crowds, order of arrival, texts that come later, kills, images that go."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from filters.duplicate_candidates import Crowding
from filters.planted import layouts
from filters.planted.scenes import photo
from filters.scorers import SCORERS, measure_scaled
from flywheel.errors import AnotherDriver
from flywheel.images.views import ScaledView
from flywheel.records import ImageFacts
from flywheel.schemas import TABLES
from flywheel.workspace import Workspace, runs
from flywheel.workspace.tables import FencedTable
from pipelines import duplicates
from pipelines.duplicates import find
from pipelines.engine import StepReport
from pipelines.judging import init_workspace

SMALL = Crowding(cap=5, pivots=2)


@dataclass(frozen=True)
class Shot:
    """An image as ingest leaves it: what its pixels measured, and its size as it is claimed here."""

    image_id: str
    row: dict[str, Any]
    width_px: int = 400
    height_px: int = 400
    bytes: int = 1


def silent(step: str, done: int, total: int | None, counts: object) -> None: ...


def look(workspace: Workspace) -> StepReport:
    return find(workspace, silent)


def measured(image: Image.Image) -> dict[str, Any]:
    facts = ImageFacts(
        image_id="", format="PNG", mode="RGB", width_px=image.width, height_px=image.height, exif_orientation=1, bytes=1
    )
    rgb = np.asarray(image.convert("RGB"))
    view = ScaledView(rgb=rgb, scale=1.0, facts=facts, jpeg_tables=None, had_alpha=False)
    return dict(measure_scaled(view, ["phash"])["phash"])


def speckled(row: dict[str, Any], seed: int) -> dict[str, Any]:
    """As another JPEG of the same picture measures: some pixels one level apart."""
    pixels = np.frombuffer(row["thumb"], np.uint8)
    apart = np.random.default_rng(seed).integers(0, 2, pixels.size)
    return {**row, "thumb": np.where(pixels > 127, pixels - apart, pixels + apart).astype(np.uint8).tobytes()}


def fresh(path: Path) -> Workspace:
    return init_workspace(str(path), "cpu")


def add(workspace: Workspace, name: str, rows: Iterable[dict[str, Any]]) -> None:
    scorer = SCORERS.get(name.removeprefix("score_"))
    schema = scorer.table.schema if scorer else TABLES[name].schema
    full = [dict.fromkeys(schema.names) | row for row in rows]
    workspace.tables.append(name, pa.Table.from_pylist(full, schema=schema), run_id="test")


def take_in(workspace: Workspace, shots: Iterable[Shot]) -> None:
    here = list(shots)
    sizes = ("width_px", "height_px", "bytes")
    add(workspace, "images", [{"image_id": one.image_id} | {k: getattr(one, k) for k in sizes} for one in here])
    version = SCORERS["phash"].version
    add(workspace, "score_phash", [{"image_id": one.image_id, "version": version, **one.row} for one in here])


def read(workspace: Workspace, **texts: str) -> None:
    version = SCORERS["ocr"].version
    rows = [
        {"image_id": image_id, "version": version, "text": text, "script": "latin"} for image_id, text in texts.items()
    ]
    add(workspace, "score_ocr", rows)


def take_out(workspace: Workspace, image_id: str) -> None:
    """As forgetting does it."""
    for name, column in [("images", "image_id"), ("score_phash", "image_id"), ("outcomes", "subject_id")]:
        workspace.tables.delete_keys(name, pa.table({column: [image_id]}), run_id="test")
    for column in ("a", "b"):
        workspace.tables.delete_keys("duplicate_edges", pa.table({column: [image_id]}), run_id="test")


def table(workspace: Workspace, name: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = workspace.query(f"SELECT * FROM {name} ORDER BY ALL").to_pylist()
    return rows


def represented(workspace: Workspace) -> dict[str, str]:
    return {row["image_id"]: row["representative_id"] for row in table(workspace, "duplicate_groups")}


@pytest.fixture(scope="module")
def crowd() -> list[Shot]:
    """Copies of one picture: six differ by a little, eight are equal to the last byte; the largest comes last.

    And two of another picture, far from any crowd.
    """
    row = measured(photo(np.random.default_rng(3), 256, 256, scene="landscape"))
    differing = [Shot(f"copy{n}", speckled(row, n), bytes=20 - n) for n in range(5)]
    equal = [Shot(f"equal{n}", row, bytes=1 + n % 3) for n in range(8)]
    other = measured(photo(np.random.default_rng(4), 256, 256, scene="flower"))
    pair = [Shot("other0", other), Shot("other1", speckled(other, 9), bytes=2)]
    return [*equal[:4], *pair[:1], *differing, *equal[4:], *pair[1:], Shot("zz", speckled(row, 7), 800, 800, 99)]


@pytest.fixture(scope="module")
def at_once(crowd: list[Shot], tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    workspace = fresh(tmp_path_factory.mktemp("at_once") / "ws")
    take_in(workspace, crowd)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(duplicates, "CROWDING", SMALL)
        look(workspace)
    return workspace


@pytest.mark.parametrize("order", [(7, 4, 5), (-1, -15), (-5, -5, -6)])
def test_a_crowd_ends_in_the_same_tables_in_whatever_order_it_arrives(
    crowd: list[Shot], at_once: Workspace, order: Sequence[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative numbers: from the end. A bucket gets hot on the way, and pivots are displaced."""
    monkeypatch.setattr(duplicates, "CROWDING", SMALL)
    bit_by_bit = fresh(tmp_path / "ws")
    coming = list(crowd) if sum(order) > 0 else crowd[::-1]
    for count in map(abs, order):
        take_in(bit_by_bit, coming[:count])
        del coming[:count]
        look(bit_by_bit)
    assert not coming
    for name in ("duplicate_edges", "duplicate_groups"):
        assert table(bit_by_bit, name) == table(at_once, name), name
    copies = {one.image_id for one in crowd} - {"zz", "other0", "other1"}
    assert represented(at_once) == dict.fromkeys(copies, "zz") | {"other0": "other1"}
    assert look(bit_by_bit).run_id is None


def test_more_copies_than_the_cap_are_one_group_and_the_cap_is_told(crowd: list[Shot], tmp_path: Path) -> None:
    workspace = fresh(tmp_path / "ws")
    take_in(workspace, [replace(crowd[0], image_id=f"{n:03}", bytes=1000 - n) for n in range(210)])
    report = look(workspace)
    assert represented(workspace) == {f"{n:03}": "000" for n in range(1, 210)}
    assert report.counts["pairs:proven"] == 209
    assert report.counts["capped"] == 209
    assert report.counts["hot_buckets"] > 0
    again = look(workspace)
    assert again.run_id is None
    assert {name: again.counts[name] for name in ("capped", "hot_buckets")} == {
        name: report.counts[name] for name in ("capped", "hot_buckets")
    }


def test_without_a_crowd_no_cap_is_told(crowd: list[Shot], tmp_path: Path) -> None:
    workspace = fresh(tmp_path / "ws")
    take_in(workspace, crowd)
    assert set(look(workspace).counts) == {"in", "compared", "pairs:proven"}


def test_when_the_one_that_stood_for_a_crowd_goes_another_does(
    crowd: list[Shot], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(duplicates, "CROWDING", SMALL)
    workspace = fresh(tmp_path / "ws")
    equal = [one for one in crowd if one.image_id.startswith("equal")]
    take_in(workspace, equal)
    look(workspace)
    first = next(iter(represented(workspace).values()))
    take_out(workspace, first)
    look(workspace)
    assert len(set(represented(workspace).values())) == 1
    assert {*represented(workspace), *represented(workspace).values()} == {one.image_id for one in equal} - {first}


@pytest.fixture(scope="module")
def posters() -> list[Shot]:
    looks = np.random.default_rng(8)
    template = layouts.poster_template(looks, 400, 600)
    row = measured(layouts.poster(template, layouts.poster_wording(looks)))
    assert row["fine"] is not None
    return [Shot(name, speckled(row, at), 400, 600, bytes=9 - at) for at, name in enumerate("abc")]


SAID = "summer music festival in the old harbour with twelve bands"


def test_a_text_that_comes_later_is_held_against_what_was_proven_without_it(
    posters: list[Shot], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One image a batch: both of a pair are due, in different batches."""
    monkeypatch.setattr(duplicates, "_BATCH", 1)
    monkeypatch.setattr(duplicates, "_AT_ONCE", 2)
    workspace = fresh(tmp_path / "late")
    take_in(workspace, posters)
    look(workspace)
    assert {row["proof"] for row in table(workspace, "duplicate_edges")} == {"fine_thumbnail"}
    assert represented(workspace) == {"b": "a", "c": "a"}
    read(workspace, a=SAID, b="winter chess congress under a new bridge featuring masters", c=SAID)
    report = look(workspace)
    assert report.counts["compared"] == 3
    assert report.counts["pairs:withdrawn"] == 2
    assert [(row["a"], row["b"], row["proof"]) for row in table(workspace, "duplicate_edges")] == [("a", "c", "words")]
    assert represented(workspace) == {"c": "a"}
    assert look(workspace).run_id is None
    early = fresh(tmp_path / "early")
    take_in(early, posters)
    read(early, a=SAID, b="winter chess congress under a new bridge featuring masters", c=SAID)
    look(early)
    assert table(early, "duplicate_edges") == table(workspace, "duplicate_edges")


def test_a_text_makes_its_own_image_due_and_no_other(posters: list[Shot], tmp_path: Path) -> None:
    workspace = fresh(tmp_path / "ws")
    take_in(workspace, posters)
    look(workspace)
    read(workspace, b=SAID)
    assert look(workspace).counts["compared"] == 1
    outcomes = workspace.query("SELECT subject_id, attempt FROM outcomes WHERE step = 'duplicates' ORDER BY ALL")
    assert [tuple(row.values()) for row in outcomes.to_pylist()] == [("a", 1), ("b", 1), ("b", 2), ("c", 1)]
    assert len(table(workspace, "duplicate_edges")) == 3


class Killed(Exception):
    """Stands for SIGKILL in front of a commit."""


@pytest.fixture(scope="module")
def half_read(posters: list[Shot], tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Compared without texts, which came afterwards."""
    workspace = fresh(tmp_path_factory.mktemp("half_read") / "ws")
    take_in(workspace, posters)
    look(workspace)
    read(workspace, a=SAID, b=SAID, c="winter chess congress under a new bridge featuring masters")
    return workspace


@pytest.fixture(scope="module")
def undisturbed(half_read: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    path = tmp_path_factory.mktemp("undisturbed") / "ws"
    shutil.copytree(half_read.path, path)
    workspace = Workspace.open(str(path))
    look(workspace)
    return workspace


@pytest.mark.parametrize("commit", range(6))
def test_killed_before_any_commit_it_ends_with_the_same_tables(
    half_read: Workspace, undisturbed: Workspace, commit: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(duplicates, "_BATCH", 1)
    monkeypatch.setattr(duplicates, "_AT_ONCE", 2)
    shutil.copytree(half_read.path, tmp_path / "ws")
    killed = Workspace.open(str(tmp_path / "ws"))
    with monkeypatch.context() as patch:
        _die_before(patch, commit)
        with pytest.raises(Killed):
            look(killed)
    look(killed)
    for name in ("duplicate_edges", "duplicate_groups", "outcomes"):
        assert table(killed, name) == table(undisturbed, name), name


def test_killed_before_the_groups_are_derived_it_derives_them_in_a_run(
    posters: list[Shot], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = fresh(tmp_path / "ws")
    take_in(workspace, [*posters, replace(posters[0], image_id="z", bytes=9)])
    with monkeypatch.context() as patch:
        patch.setattr(duplicates, "regroup", _die)
        with pytest.raises(Killed):
            look(workspace)
    assert not represented(workspace)
    forgetting = runs.start(workspace, "forget")
    with pytest.raises(AnotherDriver):
        look(workspace)
    forgetting.end("finished", {})
    look(workspace)
    groups = represented(workspace)
    assert "z" in groups or "z" in groups.values()
    before = len(table(workspace, "run_events"))
    look(workspace)
    assert len(table(workspace, "run_events")) == before, "nothing to do records nothing"


def _die(*_: object) -> None:
    raise Killed


def _die_before(patch: pytest.MonkeyPatch, commit: int) -> None:
    """Let `commit` appends of edges or outcomes pass, and stop in front of the next."""
    append, passed = FencedTable.append, iter(range(commit))

    def until(table: FencedTable, rows: pa.Table) -> None:
        if table._name in ("duplicate_edges", "outcomes") and next(passed, None) is None:
            raise Killed
        append(table, rows)

    patch.setattr(FencedTable, "append", until)


def test_alike_vectors_bring_together_what_the_hashes_missed_and_the_proof_decides(tmp_path: Path) -> None:
    from filters.semantic_keys import semantic_keys

    workspace = fresh(tmp_path / "w")
    one, other = (
        measured(photo(np.random.default_rng(1), 400, 400)),
        measured(photo(np.random.default_rng(2), 400, 400)),
    )
    rows = {"a": one, "b": speckled(one, 3) | {"keys": []}, "c": other | {"keys": []}}
    take_in(workspace, [Shot(name, row) for name, row in rows.items()])
    assert look(workspace).counts["compared"] == 3
    assert represented(workspace) == {}
    vector = np.eye(1, 64, dtype=np.float32)
    keys = semantic_keys(vector)[0].tolist()
    row = {"subject_kind": "image", "model_id": "clip-vit-b-32-1", "vector": vector[0].tolist(), "keys": keys}
    add(workspace, "embeddings", [row | {"subject_id": name} for name in rows])
    counts = look(workspace).counts
    assert (counts["compared"], counts["pairs:proven"]) == (3, 1)
    assert represented(workspace) == {"b": "a"}
    assert look(workspace).run_id is None
