"""A vision-language model behind OpenAI-style servers: questions as chat completions."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

from flywheel.encoders.server import Answered, Post, Servers, ServerSettings
from flywheel.encoders.vlm import Ask, Refused, Told, Waiting


class ServerVlm:
    """One client a process, for any number of threads."""

    def __init__(self, settings: ServerSettings) -> None:
        self.name = settings.model
        self._servers = Servers(settings)

    def answers(self, asks: Sequence[Ask], on_wait: Waiting) -> list[Told | Refused]:
        posts = [Post(path="chat/completions", body=_body(self.name, ask)) for ask in asks]
        return [_told(one) for one in self._servers.posted(posts, on_wait)]

    def close(self) -> None:
        """Hang up. The client cannot be used again."""
        self._servers.close()


def _body(model: str, ask: Ask) -> dict[str, Any]:
    content: list[dict[str, Any]] = [{"type": "text", "text": ask.prompt}]
    if ask.image is not None:
        kind = "png" if ask.image.startswith(b"\x89PNG") else "jpeg"
        url = f"data:image/{kind};base64,{base64.b64encode(ask.image).decode()}"
        content.insert(0, {"type": "image_url", "image_url": {"url": url}})
    body: dict[str, Any] = {
        "model": model,
        "messages": [{"role": "user", "content": content}],
        "max_tokens": ask.max_tokens,
        "temperature": ask.temperature,
        "seed": ask.seed,
    }
    if ask.schema is not None:
        answer = {"name": "answer", "schema": ask.schema, "strict": True}
        body["response_format"] = {"type": "json_schema", "json_schema": answer}
    return body


def _told(answered: Answered | Refused) -> Told | Refused:
    if isinstance(answered, Refused):
        return answered
    try:
        choice, usage = answered.read["choices"][0], answered.read.get("usage") or {}
        return Told(
            text=choice["message"]["content"] or "",
            finish="stop" if choice["finish_reason"] == "stop" else "length",
            prompt_tokens=int(usage.get("prompt_tokens") or 0),
            completion_tokens=int(usage.get("completion_tokens") or 0),
            seconds=answered.seconds,
        )
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        return Refused(f"not an answer of chat.completions: {type(error).__name__}", again=True)
