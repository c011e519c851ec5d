"""The language of a caption: what was asked for where the script fits, else what the script tells."""

from __future__ import annotations

import pytest

from captioners.language import language_of


@pytest.mark.parametrize(
    ("text", "asked", "language"),
    [
        ("A big red star, and the word 山水.", "en", "en"),
        ("一颗红色的大星星", "en", "zh"),
        ("МИР", None, "und-Cyrl"),
        ("SUN", None, "und-Latn"),
        ("שלום", None, "he"),
        ("ひらがな", None, "ja"),
        ("ᚠᚢᚦ", None, "und"),
        ("12:30", "en", None),
        ("", None, None),
    ],
)
def test_language(text: str, asked: str | None, language: str | None) -> None:
    assert language_of(text, asked) == language
