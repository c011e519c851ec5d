"""The client of model servers: order kept, limits held, every kind of trouble answered in its own way."""

from __future__ import annotations

import base64
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flywheel.encoders.server import ServerSettings
from flywheel.encoders.vlm import Ask, Refused, Told
from flywheel.encoders.vlm_server import ServerVlm
from flywheel.errors import FlywheelError, ServerDown, UsageError

sys.path.insert(0, str(Path(__file__).parent))
from model_server import ModelServer, Reply, Script, echo, says

PNG = b"\x89PNG\r\n\x1a\nrest"


@pytest.fixture
def serve() -> Iterator[Callable[..., ModelServer]]:
    started: list[ModelServer] = []

    def start(script: Script = echo, **settings: Any) -> ModelServer:
        started.append(ModelServer(script, **settings).start())
        return started[-1]

    yield start
    for server in started:
        server.stop()


@pytest.fixture
def client() -> Iterator[Callable[..., ServerVlm]]:
    made: list[ServerVlm] = []

    def make(*servers: ModelServer, **settings: Any) -> ServerVlm:
        usual: dict[str, Any] = {"model": "m", "timeout_s": 5.0, "max_wait_s": 20.0, "back_off_s": 0.01}
        made.append(ServerVlm(ServerSettings(urls=tuple(server.url for server in servers), **(usual | settings))))
        return made[-1]

    yield make
    for one in made:
        one.close()


def ask(prompt: str = "what?", **changes: Any) -> Ask:
    return Ask(**({"image": None, "prompt": prompt, "schema": None, "max_tokens": 9, "seed": 4} | changes))


def silent(said: str) -> None: ...


def texts(answers: list[Told | Refused]) -> list[str]:
    return [answer.text if isinstance(answer, Told) else f"refused {answer.detail}" for answer in answers]


def test_answers_come_in_the_order_asked_and_no_more_are_in_flight_than_allowed(serve: Any, client: Any) -> None:
    server = serve(slow_s=0.02)
    model = client(server, in_flight=5)
    found: dict[int, list[Told | Refused]] = {}

    def from_one_thread(at: int) -> None:
        found[at] = model.answers([ask(f"{at}-{number}") for number in range(20)], silent)

    threads = [threading.Thread(target=from_one_thread, args=(at,)) for at in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for at, answers in found.items():
        assert texts(answers) == [f'{{"asked": "{at}-{number}"}}' for number in range(20)]
    assert server.most_at_once == 5


def test_a_request_is_what_chat_completions_expect(serve: Any, client: Any) -> None:
    server = serve()
    schema = {"type": "object"}
    (answer,) = client(server).answers([ask(image=PNG, schema=schema, temperature=0.7)], silent)
    (body,) = server.bodies
    picture, words = body["messages"][0]["content"]
    assert picture["image_url"]["url"] == f"data:image/png;base64,{base64.b64encode(PNG).decode()}"
    assert words == {"type": "text", "text": "what?"}
    assert body["response_format"]["json_schema"]["schema"] == schema
    assert (body["model"], body["max_tokens"], body["temperature"], body["seed"]) == ("m", 9, 0.7, 4)
    assert (answer.finish, answer.prompt_tokens, answer.completion_tokens) == ("stop", 7, 3)


def test_an_answer_that_was_cut_off_says_so(serve: Any, client: Any) -> None:
    (answer,) = client(serve(lambda body, _: says('{"a": "b', "length"))).answers([ask()], silent)
    assert answer.finish == "length"


def test_a_wrong_request_is_told_at_once(serve: Any, client: Any) -> None:
    server = serve(lambda body, _: (400, {"error": {"message": "the image is\n broken"}}))
    (answer,) = client(server).answers([ask()], silent)
    assert answer == Refused("400: the image is broken")
    assert len(server.bodies) == 1


def test_a_server_that_stumbles_is_asked_again_and_then_told(serve: Any, client: Any) -> None:
    def stumbles(body: dict[str, Any], before: int) -> Reply:
        return (500, {"error": {"message": "oh"}}) if before < 2 else echo(body, before)

    server = serve(stumbles)
    assert texts(client(server).answers([ask("x")], silent)) == ['{"asked": "x"}']
    assert len(server.bodies) == 3
    hopeless = serve(lambda body, _: (503, {}))
    (answer,) = client(hopeless, tries=3).answers([ask()], silent)
    assert isinstance(answer, Refused)
    assert answer.again
    assert len(hopeless.bodies) == 3


def test_a_connection_that_breaks_is_nobodys_fault(serve: Any, client: Any) -> None:
    server = serve(lambda body, before: None if before % 2 == 0 else echo(body, before))
    answers = client(server, tries=1, in_flight=1).answers([ask(str(number)) for number in range(6)], silent)
    assert texts(answers) == [f'{{"asked": "{number}"}}' for number in range(6)]


def test_a_slow_answer_is_given_up_and_asked_again(serve: Any, client: Any) -> None:
    def slow_once(body: dict[str, Any], before: int) -> Reply:
        if before == 0:
            time.sleep(1.0)
        return echo(body, before)

    server = serve(slow_once)
    assert texts(client(server, timeout_s=0.3).answers([ask("x")], silent)) == ['{"asked": "x"}']
    assert len(server.bodies) == 2


def test_a_server_that_is_down_is_waited_for_and_nothing_is_lost(serve: Any, client: Any) -> None:
    server = serve(slow_s=0.03)
    model, said = client(server, in_flight=2), []
    killer = threading.Timer(0.15, server.stop)
    healer = threading.Timer(1.5, server.start)
    killer.start()
    healer.start()
    answers = model.answers([ask(str(number)) for number in range(40)], said.append)
    assert texts(answers) == [f'{{"asked": "{number}"}}' for number in range(40)]
    assert any(server.url in line for line in said)
    healer.join()


def test_after_waiting_long_enough_the_run_ends_in_one_line(serve: Any, client: Any) -> None:
    server = serve()
    model = client(server, max_wait_s=0.5)
    server.stop()
    with pytest.raises(ServerDown, match="the same command goes on") as down:
        model.answers([ask(), ask()], silent)
    assert server.url in str(down.value)
    assert down.value.exit_code == 1


def test_requests_go_to_the_least_busy_and_past_a_dead_one_until_it_is_back(serve: Any, client: Any) -> None:
    quick, slow = serve(slow_s=0.005), serve(slow_s=0.1)
    model = client(quick, slow, in_flight=4)
    asks = [ask(str(number)) for number in range(60)]
    assert texts(model.answers(asks, silent)) == [f'{{"asked": "{number}"}}' for number in range(60)]
    assert len(quick.bodies) > 2 * len(slow.bodies) > 0
    quick.stop()
    assert len(model.answers(asks[:10], silent)) == 10
    quick.start()
    before = len(quick.bodies)
    deadline = time.monotonic() + 20
    while len(quick.bodies) == before and time.monotonic() < deadline:
        model.answers(asks[:4], silent)
        time.sleep(0.3)
    assert len(quick.bodies) > before


def test_a_server_of_another_model_is_refused_by_name(serve: Any, client: Any) -> None:
    with pytest.raises(FlywheelError, match="serves other, not m"):
        client(serve(model="other")).answers([ask()], silent)


def test_only_http_is_spoken() -> None:
    with pytest.raises(UsageError, match="http"):
        ServerSettings(urls=("file:///etc/passwd",), model="m")
