"""Whether two readings of text-dense pictures can be readings of one picture."""

from __future__ import annotations

import re
from collections import Counter

# An overlay adds words to one side; different wording leaves words without a partner on both.
# A reader's slips do too, most of all on a smaller copy: one word in six is forgiven. Our choice.
FORGIVEN = 1 / 6
# Two readings of one word agree in at least this share of their character pairs. Our choice.
SAME_WORD = 0.5
MIN_LETTERS = 3
ENOUGH_WORDS = 5


def words_of(text: str) -> Counter[str]:
    """Lower-case words of three letters or more; runs of Han, kana or Hangul are cut into character pairs."""
    found: Counter[str] = Counter()
    for word in re.findall(r"\w+", text.casefold()):
        if word.isascii() or not re.search(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]", word):
            if len(word) >= MIN_LETTERS:
                found[word] += 1
        else:
            found.update(word[i : i + 2] for i in range(max(1, len(word) - 1)))
    return found


def words_agree(a: str, b: str) -> bool:
    """True unless both readings hold more unmatched words than slips explain."""
    unmatched, fewer = _unmatched(a, b)
    return unmatched <= FORGIVEN * fewer


def words_equal(a: str, b: str) -> bool:
    """True where both readings hold enough words to tell and one of them leaves none without a partner."""
    unmatched, fewer = _unmatched(a, b)
    return unmatched == 0 and fewer >= ENOUGH_WORDS


def _unmatched(a: str, b: str) -> tuple[int, int]:
    """Words without a partner on the side that has fewer of them; words of the shorter reading."""
    left, right = words_of(a), words_of(b)
    only_left, only_right = list((left - right).elements()), list((right - left).elements())
    alone = 0
    for word in only_left:
        partner = next((other for other in only_right if _alike(word, other)), None)
        if partner is None:
            alone += 1
        else:
            only_right.remove(partner)
    return min(alone, len(only_right)), min(left.total(), right.total())


def _alike(a: str, b: str) -> bool:
    if a in b or b in a:
        return True
    pairs_a, pairs_b = {a[i : i + 2] for i in range(len(a) - 1)}, {b[i : i + 2] for i in range(len(b) - 1)}
    return 2 * len(pairs_a & pairs_b) >= SAME_WORD * (len(pairs_a) + len(pairs_b)) > 0
