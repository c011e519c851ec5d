"""A server is examined before it is relied on: what it says is not believed."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from flywheel.encoders.vlm_serving import amiss, serve_line
from tests.encoders.model_server import ModelServer, Reply, says

GUIDED = json.dumps({"verdict": "left", "words": "sea"})


def images(body: dict[str, Any]) -> int:
    return sum(part["type"] == "image_url" for part in body["messages"][0]["content"])


def refused(_: str) -> Reply:
    return 400, {"error": {"message": "At most 1 image(s) may be provided in one prompt."}}


def sound(body: dict[str, Any], _: int) -> Reply:
    return refused("") if images(body) > 1 else says(GUIDED)


@pytest.fixture
def examined() -> Iterator[Callable[..., list[str]]]:
    servers: list[ModelServer] = []

    def examine(script: Callable[[dict[str, Any], int], Reply]) -> list[str]:
        servers.append(ModelServer(script).start())
        return amiss(servers[-1].url, "m")

    yield examine
    for server in servers:
        server.stop()


def test_a_server_that_guides_and_takes_one_image_is_sound(examined: Callable[..., list[str]]) -> None:
    assert examined(sound) == []


@pytest.mark.parametrize("said", ["O sea, O sea", '{"verdict":"up","words":""}', '{"verdict":"left"}', "[]"])
def test_answers_that_no_grammar_held_are_noticed(said: str, examined: Callable[..., list[str]]) -> None:
    wrong = examined(lambda body, at: says(said if at == 3 else GUIDED) if images(body) == 1 else refused(""))
    assert wrong == ["1 of 8 guided answers are no valid JSON of the schema asked for"]


def test_an_answer_that_was_cut_off_is_noticed(examined: Callable[..., list[str]]) -> None:
    assert len(examined(lambda body, at: says(GUIDED, "length") if images(body) == 1 else refused(""))) == 1


def test_a_server_that_takes_several_images_or_none_is_noticed(examined: Callable[..., list[str]]) -> None:
    assert examined(lambda body, at: says(GUIDED)) == ["takes several images a request, and keeps memory for them"]
    (wrong,) = examined(lambda body, at: (400, {"error": {"message": "m is not a multimodal model"}}))
    assert "not a multimodal model" in wrong


def test_the_line_to_type_can_be_typed() -> None:
    one, eight = shlex.split(serve_line("m")), shlex.split(serve_line("m", gpus=8))
    assert one[:3] == ["vllm", "serve", "m"]
    assert json.loads(one[one.index("--limit-mm-per-prompt") + 1]) == {"image": 1, "video": 0}
    guided = json.loads(one[one.index("--structured-outputs-config") + 1])
    assert guided == {"backend": "guidance", "disable_any_whitespace": True}
    assert eight[eight.index("--data-parallel-size") + 1] == "8"
    assert "--data-parallel-size" not in one
