"""Text from strangers (captions, file names, metadata) on a terminal: shown, never obeyed."""

from __future__ import annotations

import re

# C0 and C1 controls, marks that turn the direction of writing, separators of lines, halves of code points.
_HIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def visible(text: str, keep: str = "\n\t") -> str:
    """The text with what a terminal would act on made visible, but for the characters in `keep`."""
    if text.isprintable():  # true of most, and found out much sooner
        return text
    return _HIDDEN.sub(lambda found: found[0] if found[0] in keep else _picture(ord(found[0])), text)


def escaped(document: str) -> str:
    """JSON with those characters escaped as JSON does it; between its strings there are but line ends."""
    if document.isprintable():
        return document
    return _HIDDEN.sub(lambda found: found[0] if found[0] == "\n" else f"\\u{ord(found[0]):04x}", document)


def _picture(code: int) -> str:
    """Unicode has pictures of the C0 controls; others are written as Python would."""
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "\u2421"
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
