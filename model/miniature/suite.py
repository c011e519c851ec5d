"""The rendered world's own suites: prompts by level, each with the scene that a checker holds the picture to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from itertools import islice

from PIL import Image

from flywheel.errors import UsageError
from flywheel.facets import Facet
from flywheel.suites.item import Item, Scored
from model.miniature import levels, matched, segmented
from model.miniature.render import render
from model.miniature.scene import Scene
from model.miniature.verdict import Checker, Verdict

NAME = "miniature"
FRESH = "fresh"  # stands in the keys of prompts that were made for one purpose, before the stream they are of
_TRIES = 20_000  # prompts; our choice
# A serves rewards and triage, B the gate and the report: built apart, so that nobody is judged by what it was taught with.
CHECKERS: Mapping[str, Checker] = {"A": matched.check, "B": segmented.check}
CHECKER_OF: Mapping[str, str] = {"triage": "A", "gate": "B", "report": "B"}
_FACETS: Mapping[str, Facet] = {
    "background": Facet.ATTRIBUTES,
    "places": Facet.ORDER,
    "shapes": Facet.OBJECTS,
    "sizes": Facet.ATTRIBUTES,
    "colours": Facet.ATTRIBUTES,
    "words": Facet.WORDS,
    "word colour": Facet.ATTRIBUTES,
}


def items(names: Sequence[str], number: int, role: str) -> list[Item]:
    """So many prompts of each level that belong to the role. Raises UsageError for a level or a role that is none."""
    if unknown := [name for name in names if name not in levels.LEVELS]:
        raise UsageError(f"no level {unknown[0]!r} of the miniature; there are {', '.join(levels.LEVELS)}")
    if role not in CHECKER_OF:
        raise UsageError(f"no role {role!r} to examine on; there are {', '.join(CHECKER_OF)}")
    return [
        _item(prompt, name, role, f"{name} {role} {at:05}")
        for name in names
        for at, prompt in enumerate(levels.prompts(name, number, role))
    ]


def fresh(
    wanted: Callable[[Item], bool], number: int, role: str, seed: Sequence[int], tries: int = _TRIES
) -> list[Item]:
    """Different prompts of any level that are as wanted; fewer where so many tries bring no more."""
    found: dict[str, Item] = {}
    stream = f"{FRESH} {'.'.join(map(str, seed))}"
    for at, (name, prompt) in enumerate(islice(levels.anything(role, seed), tries)):
        one = _item(prompt, name, role, f"{name} {role} {stream} {at:05}")
        if prompt.text not in found and wanted(one):
            found[prompt.text] = one
            if len(found) == number:
                break
    return list(found.values())


def _item(prompt: levels.Prompt, level: str, role: str, key: str) -> Item:
    return Item(
        suite=NAME,
        key=key,
        prompt=prompt.text,
        labels={"level": level, "role": role, **_script(prompt.scene)},
        checks={"scene": asdict(prompt.scene)},
    )


def scene_of(item: Item) -> Scene:
    """What the picture must show."""
    return Scene.from_dict(item.checks["scene"])


def as_the_world_draws_it(item: Item, side_px: int, seed: int) -> Image.Image:
    """A real picture of what is asked."""
    return render(scene_of(item), side_px, seed).image


def scored(verdict: Verdict) -> Scored:
    """Right is what is right in every respect."""
    facets: dict[Facet, bool] = {}
    for name, holds in verdict.facets.items():
        facets[_FACETS[name]] = facets.get(_FACETS[name], True) and holds
    return Scored(
        score=float(verdict.exact),
        facets={facet: float(holds) for facet, holds in facets.items()},
        why=tuple(name for name, holds in verdict.facets.items() if not holds),
    )


def _script(scene: Scene) -> dict[str, str]:
    return {"script": scene.lines[0].script} if scene.lines else {}
