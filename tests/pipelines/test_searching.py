"""Index and search: what the tables hold is found, what is gone is not, and the index says how far behind it is."""

from __future__ import annotations

from pathlib import Path
from shutil import rmtree
from typing import Any

import pyarrow as pa
import pytest
from in_process import InProcess

from flywheel.errors import AnotherDriver, FlywheelError, UsageError
from flywheel.schemas import TABLES
from flywheel.workspace import Workspace
from pipelines import embedding, forget, indexing
from pipelines.judging import judging_views
from pipelines.searching import Wanted, asked_in, search
from pipelines.tagging import tagged, tags
from pipelines.upkeep import maintain


def silent(step: str, done: int, total: int | None, counts: object) -> None: ...


@pytest.fixture
def found(bench: Workspace) -> Workspace:
    """The bench, embedded and indexed."""
    embedding.embed(bench, InProcess(), silent)
    indexing.index(bench, silent)
    return bench


def ids(workspace: Workspace, **wanted: Any) -> list[str]:
    return [hit.image_id for hit in search(workspace, Wanted(**wanted)).hits]


def picture(workspace: Workspace, at: int) -> tuple[str, bytes]:
    row = workspace.query(f"SELECT image_id, uri FROM images WHERE ends_with(uri, '/{at}.png')").to_pylist()[0]
    return row["image_id"], Path(row["uri"].removeprefix("file://")).read_bytes()


def test_a_picture_finds_itself_first_and_a_new_one_something(found: Workspace, tmp_path: Path) -> None:
    image_id, data = picture(found, 3)
    answer = search(found, Wanted(picture=data, k=6))
    assert answer.mode == "vector"
    assert answer.hits[0].image_id == image_id
    assert answer.hits[0].cosine == pytest.approx(1.0, abs=1e-3)
    assert [hit.score for hit in answer.hits] == sorted((hit.score for hit in answer.hits), reverse=True)
    assert len({hit.image_id for hit in answer.hits}) == 6
    from PIL import Image

    Image.new("RGB", (50, 40), "red").save(tmp_path / "new.png")
    assert len(ids(found, picture=(tmp_path / "new.png").read_bytes(), k=2)) == 2
    with pytest.raises(UsageError, match="cannot be read"):
        ids(found, picture=b"no picture")


def test_words_find_captions_and_both_rankings_are_fused(found: Workspace) -> None:
    image_id, _ = picture(found, 4)
    assert ids(found, words="picture 4", mode="text")[0] == image_id
    hybrid = search(found, Wanted(words="picture 4"))
    assert hybrid.mode == "hybrid"
    by_vector, by_text = ids(found, words="picture 4", mode="vector"), ids(found, words="picture 4", mode="text")
    assert {hit.image_id for hit in hybrid.hits} == {*by_vector, *by_text}
    assert image_id in [hit.image_id for hit in hybrid.hits]
    assert len(ids(found, words="picture", mode="vector", k=3)) == 3


def test_a_choice_of_images_and_a_distance_from_others_are_kept(found: Workspace) -> None:
    image_id, data = picture(found, 1)
    other, _ = picture(found, 2)
    assert ids(found, picture=data, only=[other]) == [other]
    assert ids(found, words="picture", mode="text", only=[other]) == [other]
    assert image_id not in ids(found, picture=data, apart_from=[image_id])
    assert sorted(ids(found, picture=data, diverse=True, k=6)) == sorted(ids(found, picture=data, k=6))


def test_a_failure_finds_what_its_prompt_asked(found: Workspace) -> None:
    image_id, _ = picture(found, 4)
    unknown = {"failure_id": "f2", "prompt": None, "facets": ["words"], "signal": "feedback"}
    rows = [{"failure_id": "f1", "prompt": "picture 4", "facets": ["objects"], "signal": "evaluation"}, unknown]
    with pytest.raises(UsageError, match="no failure 'f1' among the 0"):
        asked_in(found, "f1")
    found.tables.append("failures", pa.Table.from_pylist(rows, schema=TABLES["failures"].schema), run_id="test")
    assert ids(found, words=asked_in(found, "f1"), mode="text")[0] == image_id
    with pytest.raises(UsageError, match="has no prompt"):
        asked_in(found, "f2")
    with pytest.raises(UsageError, match="it's\" among the 2"):
        asked_in(found, "it's")


def test_a_rebuilt_index_answers_alike_and_nothing_new_starts_no_run(found: Workspace) -> None:
    _, data = picture(found, 0)
    before = search(found, Wanted(picture=data)), search(found, Wanted(words="caption", mode="text"))
    assert indexing.index(found, silent).run_id is None
    assert indexing.index(found, silent, rebuild=True).counts["added"] == 12
    assert (search(found, Wanted(picture=data)), search(found, Wanted(words="caption", mode="text"))) == before


def test_the_index_says_how_far_behind_it_is_and_forgets_what_is_forgotten(found: Workspace) -> None:
    _, data = picture(found, 0)
    assert search(found, Wanted(picture=data)).lag == {}
    gone, _ = picture(found, 5)
    forget.forget(found, [gone], judging_views(found), actor="me", why="asked")
    answer = search(found, Wanted(picture=data))
    assert answer.lag
    assert gone not in [hit.image_id for hit in answer.hits]
    assert indexing.index(found, silent).counts["gone"] == 2
    assert search(found, Wanted(picture=data)).lag == {}
    assert gone not in ids(found, words="picture 5", mode="text")


def test_maintaining_brings_the_index_up_and_makes_none_where_there_was_none(found: Workspace) -> None:
    image_id, _ = picture(found, 1)
    forget.forget(found, [image_id], judging_views(found), actor="me", why="asked")
    assert maintain(found, dry_run=False)["index"]["gone"] >= 1
    assert indexing.lag(found) == {}
    assert image_id not in ids(found, words="picture 1", mode="text", k=10)
    rmtree(indexing.folder_of(found))
    assert maintain(found, dry_run=False)["index"] == {}
    assert not indexing.folder_of(found).exists()


def test_without_a_model_words_still_find_captions(
    bench: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FLYWHEEL_MODELS", str(tmp_path))
    indexing.index(bench, silent)
    image_id, data = picture(bench, 2)
    answer = search(bench, Wanted(words="picture 2"))
    assert (answer.mode, answer.hits[0].image_id) == ("text", image_id)
    with pytest.raises(FlywheelError, match="flywheel doctor"):
        search(bench, Wanted(picture=data))


def test_what_asks_for_nothing_is_refused(found: Workspace) -> None:
    for wanted in (Wanted(), Wanted(words="  "), Wanted(picture=b"x", mode="text")):
        with pytest.raises(UsageError):
            search(found, wanted)


def test_one_writer_at_a_time(found: Workspace) -> None:
    with indexing._alone(indexing.folder_of(found)), pytest.raises(AnotherDriver, match="indexing"):
        indexing.index(found, silent, rebuild=True)


def test_tags_are_given_once_counted_and_taken_away(found: Workspace) -> None:
    first, second = picture(found, 0)[0], picture(found, 1)[0]
    assert tagged(found, "keep", [first, second, "unknown"]) == 2
    assert tagged(found, "keep", [first]) == 0
    assert tagged(found, "other", [first]) == 1
    assert tags(found) == {"keep": 2, "other": 1}
    listed = found.query("SELECT image_id, tags FROM scores WHERE len(tags) > 0", judging_views(found)).to_pylist()
    assert {row["image_id"]: row["tags"] for row in listed} == {first: ["keep", "other"], second: ["keep"]}
    assert tagged(found, "keep", [first, second], remove=True) == 2
    assert tags(found) == {"other": 1}
    for wrong in ("", "  ", "a\nb", "x" * 101):
        with pytest.raises(UsageError):
            tagged(found, wrong, [first])
