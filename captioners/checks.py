"""What the kinds hold their captions to: an independent reading, the given facts, the general caption.

Each check abstains where it has nothing to hold a caption to. Thresholds are our choice.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from rapidfuzz.distance import Levenshtein

from captioners.kind import Finding, Given, Payload
from flywheel.encoders.ocr import CAN_READ, script_of

# Share of signs that may differ: OCR itself misreads one in twenty on small print.
MOST_WRONG_SIGNS = 0.25
SIGNS_TO_SPARE = 3  # that a reader may see beside a text in a script it does not have
# A full-size model names small things in its list that a caption leaves out; half of them it must not.
FEWEST_TOLD = 0.5
# Letters that a reader of Latin takes for its own: on a picture of a Cyrillic word it reads what is drawn there.
_TWINS = str.maketrans("авекмнорстухіѕјαβεικνορτυχ", "abekmhopctyxisjabeikvoptux")
_QUOTED = re.compile(r'"([^"]+)"|“([^”]+)”|「([^」]+)」|«([^»]+)»')
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_NAME = re.compile(r"(?<![.!?:;\n]\s)(?<!^)\b[A-ZÀ-ÞА-Я][\w'’-]+")


def quotes_were_read(payload: Payload, given: Given) -> Finding:
    """Each quotation stands somewhere in what the OCR read."""
    quoted = [next(filter(None, found)) for found in _QUOTED.findall(payload["caption"])]
    if given.read is None:
        return Finding(check="quotes", ok=None, says="no independent reading")
    if not quoted:
        return Finding(check="quotes", ok=True, says="nothing is quoted")
    read = letters(given.read)
    worst = max(_missing(letters(piece), read) for piece in quoted)
    return _held_to_reading("quotes", " ".join(quoted), worst)


def lines_were_read(payload: Payload, given: Given) -> Finding:
    """The transcript is what the OCR read: character error rate against it, spaces and case aside."""
    if given.read is None:
        return Finding(check="reading", ok=None, says="no independent reading")
    said, read = letters("".join(payload["lines"])), letters(given.read)
    if not read:
        return Finding(check="reading", ok=None, says="the reading is empty")
    wrong = Levenshtein.distance(said, read) / len(read)
    return _held_to_reading("reading", " ".join(payload["lines"]), wrong, len(read) - len(said))


def _held_to_reading(check: str, said: str, wrong: float, left: int = 0) -> Finding:
    """Too many wrong signs fail a text, but for one in a script that the reader does not have: there it abstains.

    Even such a text it takes for Latin signs, and sure of them (61 of 100 Hebrew words on clean pictures), but for about as
    many: where it read many more than are said, it read other words. `left`: signs read beyond those said.
    """
    is_blind = script_of(said) not in (*CAN_READ, None) and left <= len(letters(said)) + SIGNS_TO_SPARE
    if wrong > MOST_WRONG_SIGNS and is_blind:
        says = "written in a script that the reader does not have"
        return Finding(check=check, ok=None, says=says, value=round(wrong, 4))
    return Finding(check=check, ok=wrong <= MOST_WRONG_SIGNS, value=round(wrong, 4))


def facts_were_given(payload: Payload, given: Given) -> Finding:
    """Every fact that the caption claims to use is given and stated; every name and number in it is given or visible."""
    facts = {name: str(value) for name, value in given.facts.items()}
    unknown = [name for name in payload["facts"] if name not in facts]
    if unknown:
        return Finding(check="facts", ok=False, says=f"not given: {', '.join(unknown)[:80]}")
    caption = payload["caption"]
    unsaid = [name for name in payload["facts"] if facts[name].casefold() not in caption.casefold()]
    if unsaid:
        return Finding(check="facts", ok=False, says=f"claimed but not stated: {', '.join(unsaid)[:80]}")
    sources = " ".join([*facts.values(), given.read or "", given.general or ""]).casefold()
    claims = [*_NUMBER.findall(caption), *_NAME.findall(caption)]
    invented = [claim for claim in claims if claim.casefold() not in sources]
    if invented:
        return Finding(check="facts", ok=False, says=f"neither given nor visible: {', '.join(invented)[:80]}")
    return Finding(check="facts", ok=True)


def relations_join_entities(payload: Payload, given: Given) -> Finding:
    """Relations point at entities that are listed, and at two different ones."""
    number = len(payload["entities"])
    wrong = [
        relation
        for relation in payload["relations"]
        if max(relation["subject"], relation["object"]) >= number or relation["subject"] == relation["object"]
    ]
    return Finding(check="relations", ok=not wrong, says="a relation joins nothing" if wrong else "")


def entities_are_told(payload: Payload, given: Given) -> Finding:
    """Entities are in the general caption, too: by their name, or by what is written on them."""
    if given.general is None:
        return Finding(check="entities", ok=None, says="no general caption")
    if not payload["entities"]:
        return Finding(check="entities", ok=False, says="no entity")
    general = given.general.casefold()
    told = [_is_told(entity, general) for entity in payload["entities"]]
    share = sum(told) / len(told)
    return Finding(check="entities", ok=share >= FEWEST_TOLD, value=round(share, 4))


def letters(text: str) -> str:
    """What is compared of a text: its letters and digits, in one case and one form; twins of other alphabets are one."""
    plain = (sign for sign in unicodedata.normalize("NFKC", text).casefold() if sign.isalnum())
    return "".join(plain).translate(_TWINS)


def _is_told(entity: Payload, general: str) -> bool:
    written = letters(entity.get("text", ""))
    if written and written in letters(general):
        return True
    names: Sequence[str] = entity["name"].casefold().split()
    return any(name[:5] in general for name in names if name)


def _missing(piece: str, read: str) -> float:
    """Edit distance between a piece and the place of the reading that is most like it, as a share of the piece.

    Sellers' algorithm: a row of the edit matrix whose first line costs nothing, so that a match may begin anywhere.
    """
    if not piece or piece in read:
        return 0.0
    row = [0] * (len(read) + 1)
    for at, sign in enumerate(piece, 1):
        before, row = row, [at]
        for place, other in enumerate(read, 1):
            row.append(min(before[place - 1] + (sign != other), before[place] + 1, row[-1] + 1))
    return min(row) / len(piece)
