"""A Qwen3-VL in this process, untrained: whatever it would rather say, the grammar holds it to the schema."""

from __future__ import annotations

import io
import json
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("transformers")

from flywheel.encoders.vlm import Ask, Refused, Told
from flywheel.encoders.vlm_local import LocalVlm, local_vlm
from flywheel.errors import FlywheelError
from model.miniature.build.checkpoint import new_model, save
from model.miniature.build.tokenizer import world_tokenizer

SCHEMA = {
    "type": "object",
    "properties": {
        "colour": {"type": "string", "enum": ["red", "green"]},
        "words": {"type": "string", "pattern": "^[A-Z]{1,4}$"},
    },
    "required": ["colour", "words"],
    "additionalProperties": False,
}
COMPACT = re.compile(r'\{"colour":"(red|green)","words":"[A-Z]{1,4}"\}')


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights") / "tiny"
    tokenizer = world_tokenizer()
    save(new_model(tokenizer, hidden=64, layers=1, sees=2, seed=3), tokenizer, folder)
    return folder


@pytest.fixture(scope="module")
def model(weights: Path) -> LocalVlm:
    return LocalVlm(weights)


def png(seed: int) -> bytes:
    held = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (96, 96, 3)).astype(np.uint8)).save(held, "PNG")
    return held.getvalue()


def ask(
    seed: int, *, temperature: float = 1.0, prompt: str = "Describe.", image: bytes | None = b"", **more: int
) -> Ask:
    return Ask(
        image=png(seed) if image == b"" else image,
        prompt=prompt,
        schema=SCHEMA,
        max_tokens=more.get("max_tokens", 64),
        temperature=temperature,
        seed=seed,
    )


def texts(model: LocalVlm, asks: list[Ask]) -> list[str]:
    answers = model.answers(asks, lambda said: None)
    assert all(isinstance(answer, Told) for answer in answers)
    return [answer.text for answer in answers if isinstance(answer, Told)]


def test_answers_are_compact_json_of_the_schema_at_any_temperature(model: LocalVlm) -> None:
    said = texts(model, [ask(seed, temperature=seed % 3) for seed in range(24)])
    assert all(COMPACT.fullmatch(text) for text in said)
    assert len({json.loads(text)["words"] for text in said}) > 5


def test_an_answer_depends_on_its_own_ask_and_seed_alone(model: LocalVlm) -> None:
    asks = [ask(seed, prompt="Describe." if seed % 2 else "Read all words of it, please.") for seed in range(10)]
    together = texts(model, asks)
    assert texts(model, asks[::-1])[::-1] == together
    assert [texts(model, [one])[0] for one in asks] == together
    again = [
        Ask(image=one.image, prompt=one.prompt, schema=SCHEMA, max_tokens=64, temperature=1.0, seed=99) for one in asks
    ]
    assert texts(model, again) != together


def test_what_is_cut_off_says_so(model: LocalVlm) -> None:
    (told,) = model.answers([ask(1, max_tokens=3)], lambda said: None)
    assert isinstance(told, Told)
    assert (told.finish, told.completion_tokens) == ("length", 3)
    (told,) = model.answers([ask(1)], lambda said: None)
    assert isinstance(told, Told)
    assert told.finish == "stop"


def test_a_broken_picture_and_a_prompt_too_long_are_refused_and_others_are_not(model: LocalVlm) -> None:
    asks = [ask(1), ask(2, image=b"\x89PNG broken"), ask(3, prompt="star " * 5000, image=None), ask(4, image=None)]
    answers = model.answers(asks, lambda said: None)
    assert [type(answer) for answer in answers] == [Told, Refused, Refused, Told]


def test_threads_share_one_model_that_is_whole(model: LocalVlm, weights: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        loaded = list(pool.map(lambda _: local_vlm(weights), range(4)))
    assert len({id(one) for one in loaded}) == 1
    asks = [ask(seed) for seed in range(4)]
    assert texts(loaded[0], asks) == texts(model, asks)


def test_a_folder_without_safe_weights_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(b"pickle")
    with pytest.raises(FlywheelError, match=r"no model\.safetensors"):
        LocalVlm(tmp_path)
