"""In which language a caption is: what its script tells, and what was asked for."""

from __future__ import annotations

from flywheel.encoders.ocr import script_of

# Scripts of one language, and of many; BCP 47.
_ONE = {"han": "zh", "kana": "ja", "hangul": "ko", "hebrew": "he", "greek": "el", "thai": "th"}
_MANY = {"latin": "und-Latn", "cyrillic": "und-Cyrl", "arabic": "und-Arab", "devanagari": "und-Deva"}


def language_of(text: str, asked: str | None) -> str | None:
    """A BCP 47 tag, `und-…` where the script alone is known; None for a text without letters."""
    script = script_of(text)
    if script is None:
        return None
    if script == "latin" and asked is not None:
        return asked
    return _ONE.get(script) or _MANY.get(script, "und")
