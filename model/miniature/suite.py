"""The rendered world's own suites: prompts by level, each with the scene that a checker holds the picture to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from PIL import Image

from flywheel.errors import UsageError
from flywheel.facets import Facet
from flywheel.suites.item import Item, Scored
from model.miniature import levels, matched, segmented
from model.miniature.scene import Scene
from model.miniature.verdict import Checker

NAME = "miniature"
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
        Item(
            suite=NAME,
            key=f"{name} {role} {at:05}",
            prompt=prompt.text,
            labels={"level": name, "role": role, **_script(prompt.scene)},
            checks={"scene": asdict(prompt.scene)},
        )
        for name in names
        for at, prompt in enumerate(levels.prompts(name, number, role))
    ]


def scored(item: Item, picture: Image.Image, checker: Checker) -> Scored:
    """As a checker sees it: right is what is right in every respect."""
    verdict = checker(Scene.from_dict(item.checks["scene"]), picture)
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
