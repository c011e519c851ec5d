"""Each suite's rule, on what judges might have seen."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flywheel.errors import UsageError
from flywheel.facets import Facet
from flywheel.suites import SUITES
from flywheel.suites.geneval import _where
from flywheel.suites.item import Box, Item, Scored, Seen
from flywheel.suites.longtext import in_order, parts


def geneval(tmp_path: Path, **row: Any) -> Item:
    (tmp_path / "suite.jsonl").write_text(json.dumps({"prompt": "a photo of it", **row}))
    return SUITES["geneval"].load(tmp_path / "suite.jsonl")[0]


def box(x: float, y: float, confidence: float = 0.95, colour: str | None = None, side: float = 10) -> Box:
    return Box(box=(x, y, x + side, y + side), confidence=confidence, colour=colour)


def judged(item: Item, **boxes: list[Box]) -> Scored:
    return SUITES[item.suite].scored(item, Seen(boxes=boxes))


def test_counts_want_the_number_and_no_more(tmp_path: Path) -> None:
    item = geneval(
        tmp_path, tag="counting", include=[{"class": "cat", "count": 2}], exclude=[{"class": "cat", "count": 3}]
    )
    assert judged(item, cat=[box(0, 0), box(20, 0)]).score == 1
    assert judged(item, cat=[box(0, 0)]).why == ("1 of 2 cat",)
    assert judged(item, cat=[box(at * 20, 0) for at in range(3)]).facets == {Facet.COUNTS: 0.0}
    assert judged(item, cat=[box(0, 0), box(20, 0), box(40, 0, confidence=0.85)]).score == 1  # too unsure to count


def test_a_colour_is_of_the_surest_boxes(tmp_path: Path) -> None:
    item = geneval(tmp_path, tag="colors", include=[{"class": "cat", "count": 1, "color": "red"}])
    assert SUITES["geneval"].wanted(item).colours
    assert judged(item, cat=[box(0, 0, 0.9, "red"), box(20, 0, 0.5, "blue")]).score == 1
    found = judged(item, cat=[box(0, 0, 0.5, "red"), box(20, 0, 0.9, "blue")])
    assert found.facets == {Facet.OBJECTS: 1.0, Facet.ATTRIBUTES: 0.0}


def test_a_position_is_to_what_it_names(tmp_path: Path) -> None:
    item = geneval(
        tmp_path,
        tag="position",
        include=[{"class": "dog", "count": 1}, {"class": "cat", "count": 1, "position": ["left of", 0]}],
    )
    assert judged(item, dog=[box(50, 0)], cat=[box(0, 0)]).score == 1
    assert judged(item, dog=[box(0, 0)], cat=[box(50, 0)]).facets[Facet.RELATIONS] == 0
    assert judged(item, dog=[], cat=[box(0, 0)]).facets == {Facet.OBJECTS: 0.0, Facet.RELATIONS: 0.0}


@given(*[st.floats(-50, 50)] * 4)
def test_one_stands_to_the_other_as_the_other_to_it(x: float, y: float, u: float, v: float) -> None:
    turned = {"left of": "right of", "right of": "left of", "above": "below", "below": "above"}
    there, back = _where(box(x, y), box(u, v)), _where(box(u, v), box(x, y))
    assert {turned[one] for one in there} == back


def test_boxes_that_overlap_stand_nowhere() -> None:
    assert _where(box(0, 0), box(1.9, 0)) == set()  # within a tenth of both sides
    assert _where(box(0, 0), box(2.1, 0)) == set()  # beyond it, but by less than half of the way
    assert _where(box(0, 0), box(9, 9)) == {"left of", "above"}


def test_tasks_of_geneval_count_alike(tmp_path: Path) -> None:
    one, two = (geneval(tmp_path, tag=tag, include=[{"class": "cat", "count": 1}]) for tag in ("a", "b"))
    right, wrong = Scored(score=1.0, facets={}), Scored(score=0.0, facets={})
    assert SUITES["geneval"].total([(one, right), (one, right), (one, wrong), (two, wrong)]) == pytest.approx(1 / 3)


DPG = """item_id,text,keywords,proposition_id,dependency,category_broad,category_detailed,tuple,question_natural_language
7,a red cat,,1,0,entity,entity - whole,,Is there a cat?
7,a red cat,,2,1,attribute,attribute - color,,Is the cat red?
7,a red cat,,3,"1,2",other,other - count,,Is there one red cat?
"""


def test_what_is_not_there_has_no_colour(tmp_path: Path) -> None:
    (tmp_path / "dpg.csv").write_text(DPG)
    suite = SUITES["dpg"]
    (item,) = suite.load(tmp_path / "dpg.csv")
    asked = suite.wanted(item).questions
    assert suite.scored(item, Seen(answers=dict.fromkeys(asked, 0.9))).score == 1
    found = suite.scored(item, Seen(answers=dict(zip(asked, (0.1, 0.9, 0.9), strict=True))))
    assert found.score == 0
    assert found.facets == {Facet.OBJECTS: 0, Facet.ATTRIBUTES: 0, Facet.COUNTS: 0}
    half = suite.scored(item, Seen(answers=dict(zip(asked, (0.9, 0.1, 0.9), strict=True))))
    assert half.score == pytest.approx(1 / 3)


def test_long_texts_count_by_their_words(tmp_path: Path) -> None:
    rows = [
        {"prompt": "a sign", "text": ["Fresh brews, every morning!", "Since 1998"], "prompt_id": 0, "length": "short"},
        {"prompt": "招牌", "text": ["每日新鲜烘焙"], "prompt_id": 1},
    ]
    (tmp_path / "texts.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    suite = SUITES["longtext"]
    sign, chinese = suite.load(tmp_path / "texts.jsonl")
    whole = suite.scored(sign, Seen(lines=["FRESH BREWS", "EVERY MORNING", "since 1998"]))
    assert (whole.score, whole.weight, whole.facets[Facet.ORDER]) == (1, 6, 1)
    part = suite.scored(sign, Seen(lines=["since 1998", "fresh fresh brews"]))
    assert part.score == pytest.approx(4 / 6)
    assert part.why == ("every", "morning")
    assert suite.scored(chinese, Seen(lines=["每日鲜"])).score == pytest.approx(3 / 6)
    assert suite.total([(sign, whole), (chinese, suite.scored(chinese, Seen()))]) == pytest.approx(6 / 12)


@given(st.lists(st.text("abc", min_size=2, max_size=4).map(lambda text: f"x{text}"), min_size=2, max_size=4))
def test_texts_in_their_order_are_in_order(texts: list[str]) -> None:
    distinct = [f"{text}{at}" for at, text in enumerate(texts)]
    assert in_order(distinct, distinct, han=False) == 1
    assert in_order(distinct, distinct[::-1], han=False) == 0
    assert in_order(distinct, [], han=False) == 0
    assert parts(" ".join(distinct).upper(), han=False) == distinct


def test_a_suite_of_ones_own(tmp_path: Path) -> None:
    row = {
        "prompt": 'a red mug that says "HI"',
        "words": ["HI"],
        "questions": [{"ask": "Is the mug red?", "facet": "attributes"}],
        "slices": {"product": "mug"},
        "references": ["mug.png"],
    }
    (tmp_path / "own.jsonl").write_text(json.dumps(row) + '\n{"prompt": "a cat"}\n')
    suite = SUITES["own"]
    mug, cat = suite.load(tmp_path / "own.jsonl")
    assert (mug.references, dict(mug.labels)) == ((str(tmp_path / "mug.png"),), {"product": "mug"})
    found = suite.scored(mug, Seen(answers={"Is the mug red?": 0.2}, lines=["hi"]))
    assert found.facets == {Facet.ATTRIBUTES: 0, Facet.WORDS: 1, Facet.ORDER: 1}
    assert found.score == 0
    (question,) = suite.wanted(cat).questions
    assert suite.scored(cat, Seen(answers={question: 0.8})).score == 1


@pytest.mark.parametrize(
    ("suite", "text", "says"),
    [
        ("geneval", '{"prompt": "x"', ":1: no JSON"),
        ("geneval", '{"prompt": "x", "tag": "t", "include": [{"class": "cat"}]}', "a class and a count"),
        (
            "geneval",
            '{"prompt": "x", "tag": "t", "include": [{"class": "cat", "count": 1, "position": ["under", 0]}]}',
            "a position is one of",
        ),
        ("dpg", DPG.replace('"1,2"', "9"), "depends on one that is not there"),
        ("dpg", DPG.replace("entity - whole,,Is", "entity - whole,,x,y,Is"), "more columns"),
        ("longtext", '\n{"prompt": "x"}', ":2: 'text' is missing"),
        ("own", '{"prompt": "x", "word": ["HI"]}', "word is none of"),
        ("own", '{"prompt": "x", "questions": [{"ask": "?", "facet": "taste"}]}', "'taste' is none of the facets"),
        ("parti", "Prompt\tCategory\n\tAbstract\n", "'Prompt' is missing"),
    ],
)
def test_a_file_that_is_none_is_refused_with_its_line(tmp_path: Path, suite: str, text: str, says: str) -> None:
    file = tmp_path / ("suite.csv" if suite == "dpg" else "suite")
    file.write_text(text)
    with pytest.raises(UsageError, match=r"suite") as refused:
        SUITES[suite].load(file)
    assert says in str(refused.value)
