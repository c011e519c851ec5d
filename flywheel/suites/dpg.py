"""DPG-Bench: dense prompts, each with a graph of yes-or-no questions (Hu et al. 2024, arXiv 2403.05135).

A question counts as no where one that it depends on is no: what is not there has no colour. Where a file has prompts alone,
the whole prompt is the one question.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flywheel.errors import UsageError
from flywheel.facets import Facet
from flywheel.rows import json_lines, need, table
from flywheel.suites.item import Item, Scored, Seen, Suite, Wanted, mean_of_pictures

YES = 0.5
_FACETS = {
    "entity": Facet.OBJECTS,
    "attribute": Facet.ATTRIBUTES,
    "relation": Facet.RELATIONS,
    "global": Facet.AESTHETICS,
}
_FINER = {"count": Facet.COUNTS, "text rendering": Facet.WORDS, "text": Facet.WORDS}


def load(path: Path) -> list[Item]:
    """The published table, a row a question; or `{"id": …, "prompt": …}` a line."""
    if path.suffix == ".jsonl":
        return [
            Item(suite="dpg", key=str(row.get("id", place)), prompt=need(row, "prompt", str, place))
            for place, row in json_lines(path)
        ]
    prompts: dict[str, str] = {}
    questions: dict[str, list[dict[str, Any]]] = {}
    for place, row in table(path, ","):
        key = need(row, "item_id", str, place)
        prompts[key] = need(row, "text", str, place)
        questions.setdefault(key, []).append(_question(row, place))
    for key, asked in questions.items():
        _hold(asked, f"{path}: {key}")
    return [
        Item(suite="dpg", key=key, prompt=prompt, checks={"questions": questions[key]})
        for key, prompt in prompts.items()
    ]


def wanted(item: Item) -> Wanted:
    return Wanted(questions=tuple(dict.fromkeys(one["ask"] for one in _asked(item))))


def scored(item: Item, seen: Seen) -> Scored:
    asked = _asked(item)
    said = {one["number"]: seen.answers[one["ask"]] >= YES for one in asked}
    holds = {one["number"]: said[one["number"]] and all(said[parent] for parent in one["depends"]) for one in asked}
    facets: dict[Facet, list[bool]] = {}
    for one in asked:
        facets.setdefault(Facet(one["facet"]), []).append(holds[one["number"]])
    return Scored(
        score=sum(holds.values()) / len(holds),
        facets={facet: sum(found) / len(found) for facet, found in facets.items()},
        why=tuple(one["ask"] for one in asked if not holds[one["number"]]),
    )


SUITE = Suite(
    says="dense prompts, by questions that depend on one another",
    load=load,
    wanted=wanted,
    scored=scored,
    total=mean_of_pictures,
)


def _asked(item: Item) -> list[dict[str, Any]]:
    whole = {"number": 1, "ask": shows(item.prompt), "depends": [], "facet": Facet.OBJECTS}
    return item.checks.get("questions") or [whole]


def shows(prompt: str) -> str:
    """The question of a whole prompt (as in VQAScore, Lin et al. 2024, arXiv 2404.01291)."""
    return f'Does this figure show "{prompt}"? Please answer yes or no.'


def _question(row: dict[str, str], place: str) -> dict[str, Any]:
    try:
        number = int(row["proposition_id"])
        depends = [int(one) for one in row["dependency"].split(",") if one.strip() and int(one)]
    except (KeyError, ValueError) as error:
        raise UsageError(f"{place}: proposition_id and dependency are numbers") from error
    finer = row.get("category_detailed", "").rpartition("-")[2].strip().lower()
    broad = _FACETS.get(row.get("category_broad", "").strip().lower(), Facet.OBJECTS)
    return {
        "number": number,
        "ask": need(row, "question_natural_language", str, place),
        "depends": depends,
        "facet": str(_FINER.get(finer, broad)),
    }


def _hold(asked: list[dict[str, Any]], place: str) -> None:
    known = {one["number"] for one in asked}
    for one in asked:
        if not known.issuperset(one["depends"]):
            raise UsageError(f"{place}: question {one['number']} depends on one that is not there")
