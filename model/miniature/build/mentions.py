"""Which token of a prompt speaks of which thing: what the condition encoder is taught token by token.

A scene's wording names a thing by size, colour and shape, and says before or behind where it stands, or beside which other one.
From the word for its shape on, tokens know the look of the thing that is spoken of; the last token of its sentence, or before
the next thing, knows its cell, and the look and cell of the one before. Learning that first is what makes a prompt parsed at its end.
Of a line every sign knows itself, its place, and whether another line was spoken of before.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from model.miniature.build.facets import MOST_SIGNS, SIGNS, UNTOLD
from model.miniature.scene import Line, Scene, Thing
from model.miniature.vocabulary import CELLS, COLOURS, MOST_LINES, SHAPES, SIZES

_SIZE_WORDS = {"big": "big", "large": "big", "small": "small", "little": "small"}
_MENTION = re.compile(rf"\b({'|'.join(_SIZE_WORDS)}) ({'|'.join(COLOURS)}) ({'|'.join(SHAPES)})(?:e?s)?\b")
_PLACE = re.compile(r"(?:look )?(?:(?:in|at) the )?\b(?:(?:top|middle|bottom) (?:left|center|right)\b|\bcenter\b)")
# What a token may know: classes of each.
KNOWN: Mapping[str, int] = {
    "size": len(SIZES),
    "colour": len(COLOURS),
    "shape": len(SHAPES),
    "cell": len(CELLS),
    "size before": len(SIZES),
    "colour before": len(COLOURS),
    "shape before": len(SHAPES),
    "cell before": len(CELLS),
    "sign": len(SIGNS),
    "sign at": MOST_SIGNS,
    "line": MOST_LINES,
}


@dataclass(frozen=True, slots=True)
class _Mention:
    look: tuple[str, str, str]
    shape_at: int  # where the word for its shape begins
    ends: int  # where the next mention begins, or the sentence ends
    is_placed: bool  # whether its own place is said; what stands beside another has none


def known_by_token(
    text: str, scene: Scene, offsets: Sequence[tuple[int, int]], before: Scene | None = None
) -> dict[str, Tensor]:
    """Classes by what is known: (tokens,), UNTOLD where nothing is. `offsets`: the signs of each token of the text.

    Of an edit, `scene` is what it makes of `before`: things are spoken of that a picture shows, so where they stand is known
    though nobody says it.
    """
    known = {name: torch.full((len(offsets),), UNTOLD) for name in KNOWN}
    mentions = list(_mentions(text))
    for at, mention in enumerate(mentions):
        inside = [place for place, (_, ends) in enumerate(offsets) if mention.shape_at < ends <= mention.ends]
        if not inside:
            continue
        standing = scene if before is None else before
        _tell(known, inside, "", mention, standing, with_cell=False)
        _tell(known, inside[-1:], "", mention, standing, with_cell=mention.is_placed or before is not None)
        if at:
            _tell(known, inside[-1:], " before", mentions[at - 1], standing, with_cell=True)
    _spell(known, text, scene, offsets)
    return known


def lines_in_order(text: str, scene: Scene) -> list[tuple[int, Line]]:
    """Those that are spoken of, in that order, each with the place of its first sign; of two alike the upper one first."""
    found: dict[int, Line] = {}
    for line in scene.lines:
        begins = text.find(f'"{line.text}"')
        while begins in found:
            begins = text.find(f'"{line.text}"', begins + 1)
        if begins >= 0:
            found[begins] = line
    return [(begins + 1, line) for begins, line in sorted(found.items())]


def _spell(known: dict[str, Tensor], text: str, scene: Scene, offsets: Sequence[tuple[int, int]]) -> None:
    """Each sign of a line: which, the how manieth, and of the how manieth line."""
    for number, (begins, line) in enumerate(lines_in_order(text, scene)):
        for place, (_, ends) in enumerate(offsets):
            at = ends - 1 - begins
            if 0 <= at < min(len(line.text), MOST_SIGNS):
                known["sign"][place], known["sign at"][place] = SIGNS.index(line.text[at]), at
                known["line"][place] = number


def _mentions(text: str) -> list[_Mention]:
    text = text.lower()
    found = list(_MENTION.finditer(text))
    mentions = []
    for at, match in enumerate(found):
        begins = max(text.rfind(". ", 0, match.start()), found[at - 1].end() if at else 0)
        ends = min(found[at + 1].start() if at + 1 < len(found) else len(text), _end_of_sentence(text, match.end()))
        mentions.append(
            _Mention(
                look=(_SIZE_WORDS[match[1]], match[2], match[3]),
                shape_at=match.start(3),
                ends=ends,
                is_placed=_is_placed(text[begins : match.start()], text[match.end() : ends]),
            )
        )
    return mentions


def _is_placed(before: str, after: str) -> bool:
    """Whether a thing's own place is said behind it or, in sentences that begin with a place, before it."""
    return _PLACE.search(after) is not None or _PLACE.match(before.removeprefix(". ")) is not None


def _end_of_sentence(text: str, begins: int) -> int:
    end = text.find(". ", begins)
    return len(text) if end < 0 else end + 1


def _tell(
    known: dict[str, Tensor], places: Sequence[int], which: str, mention: _Mention, scene: Scene, *, with_cell: bool
) -> None:
    size, colour, shape = mention.look
    classes = {"size": list(SIZES).index(size), "colour": list(COLOURS).index(colour), "shape": SHAPES.index(shape)}
    if with_cell:
        standing: list[Thing] = [thing for thing in scene.things if thing.look == mention.look]
        if len(standing) == 1:  # of several alike none is meant in particular
            classes["cell"] = standing[0].cell
    for name, value in classes.items():
        known[name + which][list(places)] = value
