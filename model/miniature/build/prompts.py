"""What the miniature's vision-language models are asked, word for word: what a model was trained on is part of its weights.

The four caption prompts are those of `captioners`; a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

CAPTION: Mapping[str, str] = {
    "general": "Describe the image.",
    "text": "Transcribe the text.",
    "knowledge": "Describe the image with these facts: ",
    "structured": "List the entities and relations.",
}
PARSE = "List what this describes: "
PARAPHRASE = "Say it in other words: "
EDIT = "List the image after this edit: "
JUDGE = "Score from 1 to 5 how well the image shows this: "


def every_prompt() -> Iterator[str]:
    yield from (*CAPTION.values(), PARSE, PARAPHRASE, EDIT, JUDGE)
