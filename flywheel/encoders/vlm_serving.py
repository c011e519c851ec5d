"""How a captioner is served: the lines to type, and what is looked at in a server before it is relied on."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence

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
