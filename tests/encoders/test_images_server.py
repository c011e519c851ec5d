"""Pictures from an endpoint: what is asked of it, and what may come back."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from typing import Any

import pytest
from PIL import Image

from flywheel.encoders.images_server import Drawing, ImagesServer
from flywheel.encoders.server import ServerSettings
from flywheel.encoders.vlm import Refused
from flywheel.errors import FlywheelError
from flywheel.records import Budgets
from tests.encoders.model_server import ModelServer, Reply


def png(side: int = 16, colour: str = "red") -> bytes:
    held = io.BytesIO()
    Image.new("RGB", (side, side), colour).save(held, "PNG")
    return held.getvalue()


def gives(data: bytes) -> Reply:
    return 200, {"data": [{"b64_json": base64.b64encode(data).decode()}]}


@pytest.fixture
def server() -> Iterator[ModelServer]:
    served = ModelServer(lambda body, before: gives(png())).start()
    yield served
    served.stop()


def ask(server: ModelServer, *asked: Drawing, model: str = "m", most_pixels: int = 1_000_000) -> list[bytes | Refused]:
    settings = ServerSettings(urls=(server.url,), model=model, tries=2, back_off_s=0.01)
    client = ImagesServer(settings, Budgets(max_pixels=most_pixels))
    try:
        return client.drawn(asked, lambda said: None)
    finally:
        client.close()


def drawing(**changes: Any) -> Drawing:
    return Drawing(**{"prompt": "a cat", "seed": 7, "width_px": 640, "height_px": 512, **changes})


def test_a_prompt_is_asked_for_with_its_seed(server: ModelServer) -> None:
    assert ask(server, drawing(steps=20, guidance=4.0)) == [png()]
    assert server.paths == ["/v1/images/generations"]
    (body,) = server.bodies
    assert body == {
        "model": "m",
        "prompt": "a cat",
        "n": 1,
        "size": "640x512",
        "response_format": "b64_json",
        "seed": 7,
        "num_inference_steps": 20,
        "guidance_scale": 4.0,
    }
    ask(server, drawing())
    assert not {"num_inference_steps", "guidance_scale"} & server.bodies[-1].keys()


def test_an_edit_brings_its_references(server: ModelServer) -> None:
    one, two = png(colour="blue"), png(colour="green")
    ask(server, drawing(references=(one,)))
    ask(server, drawing(references=(one, two)))
    assert server.paths == ["/v1/images/edits"] * 2
    single, several = (body["form"] for body in server.bodies)
    assert b'name="image"' in single
    assert b'name="seed"\r\n\r\n7' in single
    assert several.count(b'name="image[]"') == 2
    assert one in several
    assert two in several


@pytest.mark.parametrize(
    ("reply", "says", "again"),
    [
        ((200, {"data": []}), "not an answer of images", True),
        ((200, {"data": [{"b64_json": "%%%"}]}), "not an answer of images", True),
        (gives(b"GIF, they said"), "no picture", False),
        (gives(png(side=900)), "no picture", False),
        ((400, {"error": {"message": "too large"}}), "400: too large", False),
        ((503, {}), "503", True),
    ],
)
def test_what_is_no_picture_is_refused(server: ModelServer, reply: Reply, says: str, again: bool) -> None:
    server.script = lambda body, before: reply
    (refused,) = ask(server, drawing(), most_pixels=500_000)
    assert isinstance(refused, Refused)
    assert says in refused.detail
    assert refused.again == again


def test_an_endpoint_of_another_checkpoint_is_not_asked(server: ModelServer) -> None:
    with pytest.raises(FlywheelError, match="serves m, not mine"):
        ask(server, drawing(), model="mine")
    assert server.bodies == []
