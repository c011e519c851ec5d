"""LongText-Bench, English and Chinese: how much of long texts can be read in the picture (Geng et al. 2025, arXiv 2507.22058).

Words of spaced scripts, signs of Chinese, as often as both have them; case and punctuation do not count. The published figure
is of all words together, so that long texts weigh more. Reading order is scored beside it (our choice).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import combinations
from pathlib import Path

from flywheel.facets import Facet
from flywheel.rows import json_lines, need
from flywheel.suites.item import Item, Scored, Seen, Suite, Wanted, mean_of_pictures

_ACCENTED = "àâäéèêëîïôöùûüçÀÂÄÉÈÊËÎÏÔÖÙÛÜÇ"  # the published rule's own list
_HAN = "\u4e00-\u9fa5"
_UNCOUNTED = re.compile(rf"[^{_HAN}a-zA-Z0-9\s{_ACCENTED}]")


def load(path: Path) -> list[Item]:
    found = []
    for place, row in json_lines(path):
        texts = need(row, "text", list, place)
        labels: dict[str, str] = {name: str(row[name]) for name in ("category", "length") if name in row}
        labels["script"] = "han" if is_han(map(str, texts)) else "latin"
        key, prompt = str(row.get("prompt_id", place)), need(row, "prompt", str, place)
        found.append(
            Item(suite="longtext", key=key, prompt=prompt, labels=labels, checks={"texts": [str(one) for one in texts]})
        )
    return found


def wanted(item: Item) -> Wanted:
    return Wanted(reads=True)


def scored(item: Item, seen: Seen) -> Scored:
    han, texts = item.labels["script"] == "han", item.checks["texts"]
    expected, read = Counter(parts(" ".join(texts), han)), Counter(parts(" ".join(seen.lines), han))
    missing, whole = expected - read, max(1, expected.total())
    words = 1 - missing.total() / whole
    return Scored(
        score=words,
        facets={Facet.WORDS: words, Facet.ORDER: in_order(texts, seen.lines, han)},
        why=tuple(f"{word} x {often}" if often > 1 else word for word, often in missing.items()),
        weight=whole,
    )


SUITE = Suite(says="long texts, by what can be read", load=load, wanted=wanted, scored=scored, total=mean_of_pictures)


def is_han(texts: Iterable[str]) -> bool:
    return re.search(f"[{_HAN}]", "".join(texts)) is not None


def parts(text: str, han: bool) -> list[str]:
    """What is counted: signs, or words in lower case."""
    counted = _UNCOUNTED.sub("", text)
    return [sign for sign in counted if not sign.isspace()] if han else counted.lower().split()


def plain(text: str, han: bool) -> str:
    """All that is counted of it, in one string."""
    return ("" if han else " ").join(parts(text, han))


def in_order(texts: Sequence[str], lines: Sequence[str], han: bool) -> float:
    """Of all pairs of texts, the share of which both can be read, the earlier one first; 1 where there is one text alone."""
    read = plain(" ".join(lines), han)
    places = [read.find(plain(text, han)) for text in texts]
    pairs = list(combinations(places, 2))
    return sum(0 <= one < other for one, other in pairs) / len(pairs) if pairs else 1.0
