"""A richer prompt from a poorer one, by its words alone: what is asked of the rendered world is read and said again in full.

As a prompt enhancer would, it settles what was left open: a size, a free cell, the ground.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from model.miniature.scene import Line, Scene, Thing
from model.miniature.subject import SubjectError
from model.miniature.vocabulary import BACKGROUNDS, CELLS, COLOURS, NUMBERS, RELATIONS, ROWS, SHAPES, column_of, row_of
from model.miniature.wording import plain

_SIZES = {"big": "big", "large": "big", "huge": "big", "small": "small", "little": "small", "tiny": "small"}
_COLOUR, _SHAPE, _ROW = "|".join(COLOURS), "|".join(SHAPES), "|".join(ROWS)
_TOKEN = re.compile(
    rf'"(?P<text>[^"]+)"'
    rf"|(?:(?P<number>{'|'.join(NUMBERS[1:])}) )?(?:(?P<size>{'|'.join(_SIZES)}) )?(?P<look>{_COLOUR}) (?P<shape>{_SHAPE})(?:es|s)?\b"
    r"|(?P<relation>\b(?:to the )?(?:left|right) of\b|\babove\b|\bover\b|\bbelow\b|\bunder\b)"
    r"|(?P<down>\bfrom top to bottom\b)"
    rf"|\b(?P<cell>(?:{_ROW}) (?:left|center|right)|center)\b"
    rf"|\b(?P<row>{_ROW})\b"
    rf"|\b(?P<ground>{'|'.join(BACKGROUNDS)})\b"
    rf"|\b(?P<colour>{_COLOUR})\b"
    r"|(?P<end>\.)"
)
_RELATIONS = {"over": "above", "under": "below", "to the left of": "left of", "to the right of": "right of"}
_HAN, _CYRILLIC, _HEBREW = (
    re.compile(r"[\u4e00-\u9fff]"),
    re.compile(r"[\u0400-\u04ff]"),
    re.compile(r"[\u0590-\u05ff]"),
)


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    said: str
    parts: Mapping[str, str | None] = field(default_factory=dict)


def richer(prompt: str) -> str | None:
    """The prompt in full; None where nothing of the rendered world is asked."""
    scene = read(prompt)
    return None if scene is None else plain(scene)


def read(prompt: str) -> Scene | None:
    """What a prompt asks; None where that is nothing, or cannot be drawn."""
    sentences = list(_sentences(prompt))
    ground = next((token.said for sentence in sentences for token in sentence if token.kind == "ground"), "white")
    things = [thing for sentence in sentences for thing in _things(sentence)]
    lines = [line for sentence in sentences for line in _lines(sentence)]
    if not things and not lines:
        return None
    try:
        return Scene(background=ground, things=tuple(_settled(things, lines)), lines=tuple(lines))
    except SubjectError:
        return None


def _sentences(prompt: str) -> Iterator[list[_Token]]:
    """Tokens up to a full stop. What stands in quotes keeps its case."""
    found: list[_Token] = []
    for match in _TOKEN.finditer(_lower(prompt)):
        if match.lastgroup == "end":
            yield found
            found = []
        elif match["shape"] is not None:
            found.append(_Token("thing", match[0], match.groupdict()))
        else:
            kind = str(match.lastgroup)
            found.append(_Token(kind, str(match[kind])))
    yield found


def _lower(prompt: str) -> str:
    return "".join(part if part.startswith('"') else part.lower() for part in re.split(r'("[^"]*")', prompt))


def _things(sentence: Sequence[_Token]) -> list[tuple[Thing, bool]]:
    """Things, and whether their cell was said: after them, or, of one alone, before; or by a neighbour's."""
    at = [place for place, token in enumerate(sentence) if token.kind == "thing"]
    found: list[tuple[Thing, bool]] = []
    for number, place in enumerate(at):
        token = sentence[place]
        after = sentence[place + 1 : at[number + 1] if number + 1 < len(at) else None]
        cells = _cells(after) or (_cells(sentence[:place]) if len(at) == 1 else [])
        for cell in cells or [-1] * NUMBERS.index(token.parts["number"] or "one"):
            size = _SIZES[token.parts["size"] or "big"]
            thing = Thing(
                cell=max(cell, 0), shape=str(token.parts["shape"]), colour=str(token.parts["look"]), size=size
            )
            found.append((thing, cell >= 0))
    return _beside(sentence, at, found)


def _cells(tokens: Sequence[_Token]) -> list[int]:
    """Up to what no longer speaks of the thing."""
    found = []
    for token in tokens:
        if token.kind in ("text", "relation"):
            break
        if token.kind == "cell":
            found.append(CELLS.index("middle center" if token.said == "center" else token.said))
    return found


def _beside(sentence: Sequence[_Token], at: Sequence[int], found: list[tuple[Thing, bool]]) -> list[tuple[Thing, bool]]:
    """A thing before a relation stands one step from the one behind it."""
    if len(found) != len(at):  # a number of things in one breath: no neighbours are named then
        return found
    for number in range(len(at) - 2, -1, -1):
        between = [token for token in sentence[at[number] + 1 : at[number + 1]] if token.kind == "relation"]
        (thing, is_said), (other, is_known) = found[number], found[number + 1]
        if between and not is_said and is_known:
            rows, columns = RELATIONS[_RELATIONS.get(between[0].said, between[0].said)]
            row, column = row_of(other.cell) + rows, column_of(other.cell) + columns
            if 0 <= row < len(ROWS) and 0 <= column < len(ROWS):
                found[number] = replace(thing, cell=row * len(ROWS) + column), True
    return found


def _lines(sentence: Sequence[_Token]) -> Iterator[Line]:
    """Texts in quotes; colour and row stand after them, or before."""
    at = [place for place, token in enumerate(sentence) if token.kind == "text"]
    for place in at:
        after, before = _near(sentence[place + 1 :]), _near(sentence[:place][::-1])
        near = [*after, *before]
        text = sentence[place].said
        is_down = any(token.kind == "down" for token in near)
        row = next((token.said for token in near if token.kind == "row"), "top")
        colour = next((token.said for token in near if token.kind == "colour"), "blue")
        yield Line(row="middle" if is_down else row, text=text, script=_script(text, is_down), colour=colour)


def _near(tokens: Sequence[_Token]) -> list[_Token]:
    """Up to another thing or text."""
    found = []
    for token in tokens:
        if token.kind in ("text", "thing"):
            break
        found.append(token)
    return found


def _script(text: str, is_down: bool) -> str:
    if _HAN.search(text):
        return "han vertical" if is_down else "han"
    if _CYRILLIC.search(text):
        return "cyrillic"
    return "hebrew" if _HEBREW.search(text) else "latin"


def _settled(things: Sequence[tuple[Thing, bool]], lines: Sequence[Line]) -> list[Thing]:
    """Those without a cell get a free one, away from the lines."""
    taken = {thing.cell for thing, is_said in things if is_said}
    written = {line.row for line in lines}
    free = [cell for cell in (4, 0, 2, 6, 8, 1, 3, 5, 7) if cell not in taken and ROWS[row_of(cell)] not in written]
    found = []
    for thing, is_said in things:
        found.append(thing if is_said else replace(thing, cell=free.pop(0) if free else thing.cell))
    return found
