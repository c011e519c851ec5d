"""Whether an answer counts as a caption: read, bounded, held to its schema, then to all that the kind can be held to."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

from jsonschema import Draft202012Validator

from captioners.kind import Finding, Given, Kind, Payload

LONGEST_TEXT = 8_000  # signs of one caption; what a schema cannot bound is bounded here
# A text of so many signs that deflate shrinks to less than this share says one thing over and over.
_LOOP_SIGNS, _LOOP_SHARE = 160, 0.16
_SAME_WORDS, _SAME_TIMES = 4, 4
_REFUSALS = re.compile(
    r"\b(i('m| am) sorry|i (can('|no)t|am unable|won't)\b|as an ai\b|i do not feel comfortable)|"
    r"(很?抱歉|对不起|我无法|我不能|作为一个?(ai|人工智能))|(не могу (описать|помочь)|извините, я)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Verified:
    """What became of one answer. `payload` and `text` are None where it could not be read at all."""

    payload: Payload | None
    text: str | None
    findings: tuple[Finding, ...]

    @property
    def accepted(self) -> bool:
        return all(finding.ok is not False for finding in self.findings)

    @property
    def why_not(self) -> str:
        """The first failed check in a few words; empty where the caption counts."""
        failed = next((finding for finding in self.findings if finding.ok is False), None)
        if failed is None:
            return ""
        measured = "" if failed.value is None else f" {failed.value:g}"
        return f"{failed.check}{measured}: {failed.says}" if failed.says else f"{failed.check}{measured}"

    def evidence_json(self) -> str:
        return json.dumps(
            [
                {k: v for k, v in asdict(finding).items() if v not in ("", None) or k == "ok"}
                for finding in self.findings
            ],
            ensure_ascii=False,
            separators=(",", ":"),
        )


def verify(kind: Kind, answer: str, *, complete: bool, given: Given) -> Verified:
    """Judge an answer. `complete` is false where the model ran into its token limit."""
    if not complete:
        return Verified(None, None, (Finding(check="complete", ok=False, says="cut off at the token limit"),))
    payload = _read(answer)
    wrong = "not JSON" if payload is None else _against_schema(kind, payload)
    if payload is None or wrong:
        return Verified(None, None, (Finding(check="schema", ok=False, says=wrong),))
    text = kind.text(payload)
    findings = [Finding(check="schema", ok=True), _sound(text)]
    if findings[-1].ok:
        findings += [check(payload, given) for check in kind.checks]
    return Verified(payload, text, tuple(findings))


def _read(answer: str) -> Any:
    try:
        return json.loads(answer, strict=False)  # some grammars let raw control characters through
    except ValueError:
        return None


def _against_schema(kind: Kind, payload: Any) -> str:
    error = next(iter(_validator(kind.name, json.dumps(kind.schema)).iter_errors(payload)), None)
    return "" if error is None else f"{error.json_path}: {error.message}"[:200]


@cache
def _validator(name: str, schema: str) -> Draft202012Validator:
    return Draft202012Validator(json.loads(schema))


def _sound(text: str) -> Finding:
    """No refusal, no loop, neither empty nor endless, no control characters."""
    if not text.strip():
        return Finding(check="sound", ok=False, says="empty")
    if len(text) > LONGEST_TEXT:
        return Finding(check="sound", ok=False, says=f"more than {LONGEST_TEXT} signs", value=len(text))
    if any(ord(sign) < 32 and sign not in "\n\t" for sign in text):
        return Finding(check="sound", ok=False, says="control characters")
    if _REFUSALS.search(text):
        return Finding(check="sound", ok=False, says="a refusal")
    if _loops(text):
        return Finding(check="sound", ok=False, says="a repetition loop")
    return Finding(check="sound", ok=True)


def _loops(text: str) -> bool:
    data = text.encode()
    if len(data) >= _LOOP_SIGNS and len(zlib.compress(data, 9)) / len(data) < _LOOP_SHARE:
        return True
    words = text.casefold().split()
    return any(_comes_again(words, size) for size in range(1, _SAME_WORDS + 1))


def _comes_again(words: Sequence[str], size: int) -> bool:
    """Whether some words in a row come again right after themselves more than `_SAME_TIMES` times in all."""
    row = 0
    for at in range(size, len(words) - size + 1):
        row = row + 1 if words[at : at + size] == words[at - size : at] else 0
        if row > size * (_SAME_TIMES - 1):
            return True
    return False
