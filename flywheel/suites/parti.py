"""PartiPrompts: 1,632 prompts by category and challenge (Yu et al. 2022, arXiv 2206.10789). They have no rule of their own:
people judged them. Here a model is asked whether the picture shows the prompt."""

from __future__ import annotations

from pathlib import Path

from flywheel.facets import Facet
from flywheel.rows import need, table
from flywheel.suites.dpg import YES, shows
from flywheel.suites.item import Item, Scored, Seen, Suite, Wanted, mean_of_pictures

_FACETS = {
    "Quantity": Facet.COUNTS,
    "Writing & Symbols": Facet.WORDS,
    "Properties & Positioning": Facet.RELATIONS,
    "Fine-grained Detail": Facet.ATTRIBUTES,
    "Style & Format": Facet.AESTHETICS,
}


def load(path: Path) -> list[Item]:
    return [
        Item(
            suite="parti",
            key=f"{number:05}",
            prompt=need(row, "Prompt", str, place),
            labels={"category": row.get("Category", ""), "challenge": row.get("Challenge", "")},
        )
        for number, (place, row) in enumerate(table(path, "\t"))
    ]


def wanted(item: Item) -> Wanted:
    return Wanted(questions=(shows(item.prompt),))


def scored(item: Item, seen: Seen) -> Scored:
    chance = seen.answers[shows(item.prompt)]
    facet = _FACETS.get(item.labels["challenge"], Facet.OBJECTS)
    return Scored(score=chance, facets={facet: chance}, why=() if chance >= YES else ("does not show the prompt",))


SUITE = Suite(
    says="prompts by category and challenge, by one question each",
    load=load,
    wanted=wanted,
    scored=scored,
    total=mean_of_pictures,
)
