"""Whether two readings of text-dense pictures can be readings of one picture.

An overlay adds words to one side and a crop takes some from one; different wording leaves words that resemble
nothing on both sides. A reader's slips do so hardly ever: what it misread still resembles what is there. So the
pages of one template, which share most of their words, are told apart by the few that they do not share.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache

# Words alone on both sides, of all words of the shorter reading. A small copy loses and garbles many. Our choice.
FORGIVEN = 1 / 6
# Names (words of five letters, with a capital of four) and numbers say which page of a template it is. Of 261 pairs
# of real and planted copies, halved, cropped and overlaid, 250 had at most two names and changed numbers more on both
# sides than were plainly misread, and less than an eighth of their numbers alone; of 1,556 planted pairs of different
# posters, 6 did.
NAMES_FORGIVEN, NUMBERS_FORGIVEN = 2, 1 / 8
NAME_LETTERS, CAPITAL_NAME_LETTERS = 5, 4
# A misread word differs in at most this share of its letters from what is there; plainly, or where two readings are
# to be called equal, in less. A misread number has fewer: any digit would do. Our choice.
SLIPS, SLIPS_OF_EQUALS, PLAIN_SLIPS, SLIPS_OF_NUMBERS = 1 / 2, 1 / 3, 1 / 4, 1 / 4
MIN_LETTERS, MIN_DIGITS = 3, 2
ENOUGH_WORDS = 5

_WRITTEN_SOLID = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")


@lru_cache(maxsize=512)
def words_of(text: str) -> Counter[str]:
    """Lower-case words of three letters or more; runs of Han, kana or Hangul are cut into character pairs."""
    found: Counter[str] = Counter()
    for word in re.findall(r"\w+", text.casefold()):
        if word.isascii() or not _WRITTEN_SOLID.search(word):
            if len(word) >= MIN_LETTERS:
                found[word] += 1
        else:
            found.update(word[i : i + 2] for i in range(max(1, len(word) - 1)))
    return found


@lru_cache(maxsize=512)
def names_of(text: str) -> Counter[str]:
    """Words that are long, or long enough with a capital, in lower case; not of scripts written without spaces."""
    return Counter(
        word.casefold()
        for word in re.findall(r"[^\W\d_]+", text)
        if len(word) >= (CAPITAL_NAME_LETTERS if word[0].isupper() else NAME_LETTERS)
        and not _WRITTEN_SOLID.search(word)
    )


@lru_cache(maxsize=512)
def numbers_of(text: str) -> Counter[str]:
    """The digits of numbers of two digits or more, without what separates thousands or decimals."""
    written = (re.sub(r"[.,]", "", number) for number in re.findall(r"\d+(?:[.,]\d+)*", text))
    return Counter(digits for digits in written if len(digits) >= MIN_DIGITS)


def words_agree(a: str, b: str) -> bool:
    """True unless both readings hold more words, names or numbers of their own than slips explain."""
    a, b = sorted((a, b))  # partners are given away in turn: the order of the sides could matter
    left, right = words_of(a), words_of(b)
    fewer = min(left.total(), right.total())
    return (
        _numbers_agree(a, b, NUMBERS_FORGIVEN)
        and not _both_apart(left, right, SLIPS, FORGIVEN * fewer)
        and _names_agree(names_of(a), names_of(b), _numbers_changed(a, b))
    )


def words_equal(a: str, b: str) -> bool:
    """True where both readings hold enough words to tell and one of them leaves nothing without a partner."""
    a, b = sorted((a, b))
    left, right = words_of(a), words_of(b)
    enough = min(left.total(), right.total()) >= ENOUGH_WORDS
    return enough and _numbers_agree(a, b, 0.0) and not _both_apart(left, right, SLIPS_OF_EQUALS, 0)


def _numbers_agree(a: str, b: str, forgiven: float) -> bool:
    left, right = numbers_of(a), numbers_of(b)
    return not _both_apart(left, right, SLIPS_OF_NUMBERS, forgiven * min(left.total(), right.total()))


def _numbers_changed(a: str, b: str) -> int:
    """How many numbers stand on both sides that the other lacks, slips of each other or not, beyond what is forgiven.

    2026 may be a misread 2029; but beside a name that is another it is another year.
    """
    left, right = numbers_of(a), numbers_of(b)
    changed = min((left - right).total(), (right - left).total())
    return max(0, changed - int(NUMBERS_FORGIVEN * min(left.total(), right.total())))


def _names_agree(left: Counter[str], right: Counter[str], numbers_changed: int) -> bool:
    """Where a reader plainly misread some names it has garbled others, and as many more are forgiven."""
    partners = list(_partners(left, right, SLIPS))
    alone = sum(other is None for _, other in partners)
    misread = sum(
        other is not None and _within_edits(word, other, int(PLAIN_SLIPS * max(len(word), len(other))))
        for word, other in partners
    )
    alone_there = (right - left).total() - (len(partners) - alone)
    return min(alone, alone_there) + numbers_changed <= NAMES_FORGIVEN + misread


def _both_apart(left: Counter[str], right: Counter[str], slips: float, forgiven: float) -> bool:
    """Whether on both sides more than `forgiven` entries are without a partner on the other.

    Ends as soon as that is certain: of two different pages nearly all words are apart.
    """
    here, there, alone = (left - right).total(), (right - left).total(), 0
    for done, (_, other) in enumerate(_partners(left, right, slips), 1):
        alone += other is None
        there -= other is not None
        if alone > forgiven and there - (here - done) > forgiven:
            return True
    return False


def _partners(left: Counter[str], right: Counter[str], slips: float) -> Iterator[tuple[str, str | None]]:
    """What `left` holds beyond `right`, each with the first of what `right` holds beyond `left` that is like it."""
    there = [(word, _letters(word)) for word in (right - left).elements()]
    for word in (left - right).elements():
        letters = _letters(word)
        at = next((at for at, other in enumerate(there) if _alike(word, letters, *other, slips)), None)
        yield word, None if at is None else there.pop(at)[0]


def _letters(word: str) -> int:
    """The set of the word's letters, as bits."""
    bits = 0
    for letter in word:
        bits |= 1 << (ord(letter) & 63)
    return bits


def _alike(a: str, letters_a: int, b: str, letters_b: int, slips: float) -> bool:
    """Whether one is part of the other (cut off, or run together with its neighbour) or a slip of it."""
    limit = int(slips * max(len(a), len(b)))
    # A letter that the other word lacks takes an edit: most words part here, at a fraction of the cost.
    near = (letters_a & ~letters_b).bit_count() <= limit and (letters_b & ~letters_a).bit_count() <= limit
    return _part(a, b) or (near and _within_edits(a, b, limit))


def _part(a: str, b: str) -> bool:
    """Digits stand inside other numbers by chance: those must begin or end alike."""
    short, long = (a, b) if len(a) <= len(b) else (b, a)
    if short.isdecimal() and long.isdecimal():
        return long.startswith(short) or long.endswith(short)
    return short in long


def _within_edits(a: str, b: str, limit: int) -> bool:
    """Whether the Levenshtein distance is at most `limit`."""
    if abs(len(a) - len(b)) > limit:
        return False
    row = list(range(len(b) + 1))
    for i, letter in enumerate(a, 1):
        above, row[0] = row[0], i
        least = i
        for j, other in enumerate(b, 1):
            edits = above if letter == other else 1 + min(above, row[j], row[j - 1])
            above, row[j] = row[j], edits
            least = min(least, edits)
        if least > limit:
            return False
    return row[-1] <= limit
