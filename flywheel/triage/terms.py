"""What a prompt asks for, in parts, where nothing but its words is known.

A suite knows the parts of its own prompts better (an object, a level); this is for what people typed.
"""

from __future__ import annotations

import re

# Words that say how a sentence hangs together, not what is to be seen. Those that place and count things are no such words.
_SYNTAX = """
a an the of and or with is are was be been being it its this that these those there to for from as by at which who
has have had having his her their he she they very some any so image picture photo
"""
_HOLLOW = frozenset(_SYNTAX.split())
_QUOTED = re.compile(r'"([^"]+)"|“([^”]+)”|«([^»]+)»|「([^」]+)」')
_HAN = re.compile(r"[\u3400-\u9fff\uf900-\ufaff]")
_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
_LONG = (64, 256, 1_000)  # characters at which a prompt counts as longer; our choice


def terms(prompt: str) -> frozenset[str]:
    """Words, texts in quotes as such, and what kind of prompt it is."""
    quoted = ["".join(found) for found in _QUOTED.findall(prompt)]
    rest = _QUOTED.sub(" ", prompt)
    found = {_stem(word) for word in _WORD.findall(rest.lower()) if not _HAN.search(word)}
    found -= _HOLLOW
    found |= set(_HAN.findall(rest))
    if quoted:
        found.add("text in quotes")
        found |= {"han text"} if any(map(_HAN.search, quoted)) else set()
    if length := next((least for least in reversed(_LONG) if len(prompt) > least), None):
        found.add(f"over {length} characters")
    return frozenset(found)


def _stem(word: str) -> str:
    """One name for one and many; no more than that, so that the term is still a word that people know."""
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word
