"""A model that looks: what it is asked of a picture, and what its answers amount to."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from flywheel.facets import Facet
from flywheel.records import Failure, Reason
from flywheel.suites import SUITES
from flywheel.suites.item import Item, Scored
from pipelines.captioner import Served
from pipelines.judges import LookingJudge, Shown
from tests.encoders.model_server import ModelServer, Reply, says


@pytest.fixture
def server() -> Iterator[ModelServer]:
    served = ModelServer(model="looker").start()
    yield served
    served.stop()


def judge(server: ModelServer) -> LookingJudge:
    return LookingJudge(
        served=Served(name="looker", folder=None, urls=(server.url,), in_flight=4, timeout_s=5, max_wait_s=5)
    )


def picture() -> bytes:
    held = io.BytesIO()
    Image.new("RGB", (32, 32), "white").save(held, "PNG")
    return held.getvalue()


def loaded(tmp_path: Path, suite: str, row: dict[str, Any]) -> Item:
    (tmp_path / "suite.jsonl").write_text(json.dumps(row))
    return SUITES[suite].load(tmp_path / "suite.jsonl")[0]


def test_questions_are_asked_one_by_one(server: ModelServer, tmp_path: Path) -> None:
    asked = [{"ask": "Is it red?", "facet": "attributes"}, {"ask": "Are there two?", "facet": "counts"}]
    item = loaded(tmp_path, "own", {"prompt": "two red cats", "questions": asked})

    def answers(body: dict[str, Any], before: int) -> Reply:
        red = "red" in body["messages"][0]["content"][-1]["text"]
        return says(json.dumps({"answer": "yes" if red else "no"}))

    server.script = answers
    (found,) = judge(server).scored([Shown(item=item, picture=picture())])
    assert isinstance(found, Scored)
    assert found.facets == {Facet.ATTRIBUTES: 1.0, Facet.COUNTS: 0.0}
    assert found.why == ("Are there two?",)
    assert {body["temperature"] for body in server.bodies} == {0.0}
    judge(server).scored([Shown(item=item, picture=picture(), repeat=1)])
    assert {body["temperature"] for body in server.bodies[2:]} == {0.7}  # or a second look would be the first


def test_things_are_located_with_their_colours(server: ModelServer, tmp_path: Path) -> None:
    include = [{"class": "dog", "count": 1}, {"class": "cat", "count": 1, "color": "red", "position": ["left of", 0]}]
    item = loaded(tmp_path, "geneval", {"prompt": "x", "tag": "position", "include": include})
    boxes = [
        {"label": "cat", "color": "red", "bbox_2d": [0, 0, 10, 10]},
        {"label": "dog", "color": "brown", "bbox_2d": [50, 0, 60, 10]},
        {"label": "tree", "color": "green", "bbox_2d": [0, 0, 5, 5]},
    ]
    server.script = lambda body, before: says(json.dumps(boxes))
    (found,) = judge(server).scored([Shown(item=item, picture=picture())])
    assert isinstance(found, Scored)
    assert found.score == 1
    assert "every dog and every cat" in server.bodies[0]["messages"][0]["content"][-1]["text"]


@pytest.mark.parametrize(
    "reply", [says("no JSON at all"), says('{"yes": 1}'), says("[1]"), (400, {"error": {"message": "too long"}})]
)
def test_who_does_not_answer_has_not_judged(server: ModelServer, tmp_path: Path, reply: Reply) -> None:
    item = loaded(tmp_path, "own", {"prompt": "a cat"})
    server.script = lambda body, before: reply
    (found,) = judge(server).scored([Shown(item=item, picture=picture())])
    assert isinstance(found, Failure)
    assert found.reason is Reason.SCORER_FAILED


def test_a_micro_batch_is_asked_at_once(server: ModelServer, tmp_path: Path) -> None:
    item = loaded(tmp_path, "own", {"prompt": "a cat"})
    server.slow_s = 0.05
    server.script = lambda body, before: says(json.dumps({"answer": "yes"}))
    found = judge(server).scored([Shown(item=item, picture=picture())] * 8)
    assert [one.score for one in found if isinstance(one, Scored)] == [1.0] * 8
    assert server.most_at_once > 1
