"""Pictures from OpenAI-style images endpoints: vLLM-Omni's, a hosted API's.

`images/generations` for prompts, `images/edits` for prompts with references. What OpenAI's own parameters lack (seed, steps,
guidance) goes under the names that vLLM-Omni has for it. The picture that comes back is bytes from outside: its header is held to
the budgets before anybody decodes it.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from flywheel.encoders.server import Answered, Post, Servers, ServerSettings
from flywheel.encoders.vlm import Refused, Waiting
from flywheel.images.header import read_header
from flywheel.records import Budgets, Failure


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """One picture that is wanted. None: as the server does it by itself. `references` are PNGs."""

    prompt: str
    seed: int
    width_px: int
    height_px: int
    steps: int | None = None
    guidance: float | None = None
    references: tuple[bytes, ...] = ()


class ImagesServer:
    """One client a process, for any number of threads."""

    def __init__(self, settings: ServerSettings, budgets: Budgets) -> None:
        self._model, self._budgets = settings.model, budgets
        self._servers = Servers(settings)

    def drawn(self, asked: Sequence[Drawing], on_wait: Waiting) -> list[bytes | Refused]:
        """An encoded picture each, in the order asked.

        Raises ServerDown where nobody answers for too long, FlywheelError for servers of another model.
        """
        posts = [_post(self._model, one) for one in asked]
        return [self._picture(one) for one in self._servers.posted(posts, on_wait)]

    def close(self) -> None:
        """Hang up. The client cannot be used again."""
        self._servers.close()

    def _picture(self, answered: Answered | Refused) -> bytes | Refused:
        if isinstance(answered, Refused):
            return answered
        try:
            data = base64.b64decode(answered.read["data"][0]["b64_json"], validate=True)
        except (KeyError, IndexError, TypeError, AttributeError, binascii.Error) as error:
            return Refused(f"not an answer of images: {type(error).__name__}", again=True)
        header = read_header(data, self._budgets)
        return Refused(f"no picture: {header.detail}") if isinstance(header, Failure) else data


def _post(model: str, one: Drawing) -> Post:
    body: dict[str, Any] = {
        "model": model,
        "prompt": one.prompt,
        "n": 1,
        "size": f"{one.width_px}x{one.height_px}",
        "response_format": "b64_json",
        "seed": one.seed,
    }
    body |= {} if one.steps is None else {"num_inference_steps": one.steps}
    body |= {} if one.guidance is None else {"guidance_scale": one.guidance}
    if not one.references:
        return Post(path="images/generations", body=body)
    name = "image" if len(one.references) == 1 else "image[]"
    return Post(path="images/edits", body=body, files=tuple((name, png) for png in one.references))
