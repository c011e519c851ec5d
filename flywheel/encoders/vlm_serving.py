"""How a captioner is served: the lines to type, and what is looked at in a server before it is relied on."""

from __future__ import annotations

import base64
import io
import json
import shlex
from collections.abc import Sequence
from typing import Any

import httpx
from jsonschema import Draft202012Validator, ValidationError
from PIL import Image

CAPTIONER = "Qwen/Qwen3-VL-8B-Instruct"
# Grammars with free white space let a model loop in it, and one backend lets control characters through bounded strings;
# this backend without white space gave valid JSON in every trial.
GUIDED_JSON = json.dumps({"backend": "guidance", "disable_any_whitespace": True}, separators=(",", ":"))


def serve_line(model: str = CAPTIONER, gpus: int = 1, port: int = 8000) -> str:
    """The `vllm serve` line for images alone: no room is kept for video, several GPUs are several copies.

    An 8B model fits one GPU, so data parallelism beats splitting it. The encoder's budget is the batch's, hence the large one.
    """
    options: list[str | int] = [
        *("--host", "127.0.0.1", "--port", port),
        *("--max-model-len", 8192, "--max-num-batched-tokens", 16384),
        *("--limit-mm-per-prompt", json.dumps({"image": 1, "video": 0}, separators=(",", ":"))),
        *("--structured-outputs-config", GUIDED_JSON),
        *(("--data-parallel-size", gpus, "--api-server-count", gpus) if gpus > 1 else ()),
    ]
    return shlex.join(["vllm", "serve", model, *map(str, options)])


def serve_lines() -> Sequence[str]:
    """For one GPU and for eight."""
    return serve_line(), serve_line(gpus=8)


# What is asked so that no model answers it by itself: only a grammar makes these answers valid.
_SCHEMA = {
    "type": "object",
    "properties": {
        "verdict": {"type": "string", "enum": ["left", "right"]},
        "words": {"type": "string", "pattern": "^[A-Za-z ]{0,12}$"},
    },
    "required": ["verdict", "words"],
    "additionalProperties": False,
}
_PROMPT = "Write a long poem about the sea. Use no JSON."
_TRIES, _TIMEOUT_S = 8, 60.0  # our choice


def amiss(url: str, model: str) -> list[str]:
    """What is wrong with a server for captions, each in one line: guided decoding that does not guide, images that are not
    taken, room that is kept for more than one. Raises httpx.HTTPError where it does not answer."""
    with httpx.Client(timeout=_TIMEOUT_S, trust_env=False) as client:
        answers = [_ask(client, url, model, images=1, seed=seed) for seed in range(_TRIES)]
        several = _ask(client, url, model, images=2, seed=0)
    refused = next((answer.text[:200] for answer in answers if answer.status_code >= 400), None)
    if refused is not None:
        return [f"a picture with a schema is refused: {' '.join(refused.split())}"]
    wrong = sum(not _is_guided(answer) for answer in answers)
    found = [f"{wrong} of {_TRIES} guided answers are no valid JSON of the schema asked for"] if wrong else []
    if several.status_code < 400:
        found.append("takes several images a request, and keeps memory for them")
    return found


def _ask(client: httpx.Client, url: str, model: str, *, images: int, seed: int) -> httpx.Response:
    held = io.BytesIO()
    Image.new("RGB", (64, 64), "teal").save(held, "PNG")
    data = f"data:image/png;base64,{base64.b64encode(held.getvalue()).decode()}"
    content: list[dict[str, Any]] = [{"type": "image_url", "image_url": {"url": data}}] * images
    body = {
        "model": model,
        "messages": [{"role": "user", "content": [*content, {"type": "text", "text": _PROMPT}]}],
        "max_tokens": 100,
        "temperature": 1.0,
        "seed": seed,
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "answer", "schema": _SCHEMA, "strict": True},
        },
    }
    return client.post(f"{url.rstrip('/')}/chat/completions", json=body)


def _is_guided(answer: httpx.Response) -> bool:
    try:
        choice = answer.json()["choices"][0]
        Draft202012Validator(_SCHEMA).validate(json.loads(choice["message"]["content"], strict=False))
    except (ValueError, KeyError, IndexError, TypeError, ValidationError):
        return False
    return bool(choice.get("finish_reason") == "stop")
