"""A user's own suite: a JSON object a line.

    {"prompt": "a red mug that says \\"HI\\"", "words": ["HI"], "questions": [{"ask": "Is the mug red?", "facet": "attributes"}],
     "slices": {"product": "mug"}, "references": ["mug.png"]}

Only `prompt` must be there; without words and questions the whole prompt is the one question.
"""

from __future__ import annotations

from pathlib import Path

from flywheel.errors import UsageError
from flywheel.facets import Facet
from flywheel.rows import json_lines, need
from flywheel.suites.dpg import YES, shows
from flywheel.suites.item import Item, Scored, Seen, Suite, Wanted, mean_of_pictures
from flywheel.suites.longtext import in_order, is_han, plain

_FIELDS = frozenset({"prompt", "words", "questions", "slices", "references", "key"})


def load(path: Path) -> list[Item]:
    found = []
    for number, (place, row) in enumerate(json_lines(path)):
        if unknown := row.keys() - _FIELDS:
            raise UsageError(f"{place}: {', '.join(sorted(unknown))} is none of {', '.join(sorted(_FIELDS))}")
        checks = {
            "words": [str(one) for one in row.get("words", [])],
            "questions": [_question(one, place) for one in row.get("questions", [])],
        }
        found.append(
            Item(
                suite="own",
                key=str(row.get("key", f"{number:05}")),
                prompt=need(row, "prompt", str, place),
                references=tuple(str(path.parent / one) for one in row.get("references", [])),
                labels={str(name): str(value) for name, value in row.get("slices", {}).items()},
                checks=checks,
            )
        )
    return found


def wanted(item: Item) -> Wanted:
    return Wanted(questions=tuple(ask for ask, _ in _asked(item)), reads=bool(item.checks["words"]))


def scored(item: Item, seen: Seen) -> Scored:
    facets: dict[Facet, list[float]] = {}
    why = []
    for ask, facet in _asked(item):
        holds = seen.answers[ask] >= YES
        facets.setdefault(facet, []).append(float(holds))
        why += [] if holds else [ask]
    if texts := item.checks["words"]:
        han = is_han(texts)
        read = plain(" ".join(seen.lines), han)
        lost = [text for text in texts if plain(text, han) not in read]
        facets[Facet.WORDS] = [1 - len(lost) / len(texts)]
        facets[Facet.ORDER] = [in_order(texts, seen.lines, han)]
        why += lost
    means = {facet: sum(found) / len(found) for facet, found in facets.items()}
    return Scored(score=float(all(mean == 1 for mean in means.values())), facets=means, why=tuple(why))


SUITE = Suite(
    says="your own: prompts with words and questions, a JSON object a line",
    load=load,
    wanted=wanted,
    scored=scored,
    total=mean_of_pictures,
)


def _asked(item: Item) -> list[tuple[str, Facet]]:
    asked = [(one["ask"], Facet(one["facet"])) for one in item.checks["questions"]]
    return asked if asked or item.checks["words"] else [(shows(item.prompt), Facet.OBJECTS)]


def _question(one: object, place: str) -> dict[str, str]:
    if not isinstance(one, dict) or not isinstance(one.get("ask"), str):
        raise UsageError(f'{place}: a question is {{"ask": …, "facet": …}}, not {one!r}')
    facet = one.get("facet", str(Facet.OBJECTS))
    if facet not in set(Facet):
        raise UsageError(f"{place}: {facet!r} is none of the facets {', '.join(Facet)}")
    return {"ask": one["ask"], "facet": facet}
