"""Modes: failures that fail alike, by what fails (a facet) and where (a concept).

What is searched is pictures that failed and pictures that did not; without the latter nothing can stand out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from flywheel.facets import BAR, SCORE, Facet
from flywheel.seeds import stable_hash
from flywheel.triage.concepts import Case, Parts, Suspect, fisher, suspects


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A picture that was judged. `means`: of what was asked, by facet and SCORE, 0 for bad to 1 for good."""

    picture: str
    prompt_id: str
    parts: Parts
    means: Mapping[str, float]

    def fails(self, facet: str) -> bool:
        return self.means.get(facet, 1.0) < BAR


@dataclass(frozen=True, slots=True, kw_only=True)
class Mode:
    """`parts`: none where a facet fails and no concept tells where. `failing` of `prompts` with these parts fail.

    `elsewhere`: the share of all other prompts that fail. `p`: how likely that is by chance; 1 where no concept stands out.
    `pictures`: those that fail, worst first.
    """

    facet: str
    parts: tuple[str, ...]
    failing: int
    prompts: int
    elsewhere: float
    p: float
    severity: float
    pictures: tuple[str, ...]

    @property
    def mode_id(self) -> str:
        """The same in every iteration and for every checkpoint."""
        return mode_id(self.facet, self.parts)

    @property
    def is_concept(self) -> bool:
        return bool(self.parts)


def mode_id(facet: str, parts: Sequence[str]) -> str:
    return stable_hash([str(facet), sorted(parts)], 16)


def named(facet: str, parts: Sequence[str]) -> str:
    what = "picture" if facet == SCORE else facet
    return f"{what}: {' + '.join(parts)}" if parts else f"{what}: no concept stands out"


def modes(seen: Sequence[Seen]) -> list[Mode]:
    """Facet by facet, its concepts first (the surest ahead), then what they leave unexplained. None where nothing failed."""
    found: list[Mode] = []
    for facet in (*Facet, SCORE):
        asked = [one for one in seen if facet in one.means and (facet != SCORE or _is_whole(one))]
        if any(one.fails(facet) for one in asked):
            found += _modes(facet, asked)
    return found


def measured(seen: Sequence[Seen], facet: str, parts: Sequence[str]) -> Mode | None:
    """How a mode that the search did not find stands among these pictures; None where none of them shows it.

    What no concept tells is over then: such a mode is all that the search leaves.
    """
    asked = [one for one in seen if facet in one.means and (facet != SCORE or _is_whole(one))]
    inside = [one for one in asked if set(parts) <= one.parts]
    cases, others = _cases(facet, inside), _cases(facet, [one for one in asked if not set(parts) <= one.parts])
    if not cases:
        return None
    if not parts:
        cases, inside = [replace(case, fails=False) for case in cases], []
    now = Suspect(
        facet=facet,
        parts=tuple(parts),
        failing=sum(case.fails for case in cases),
        prompts=len(cases),
        elsewhere=sum(case.fails for case in others) / len(others) if others else 0.0,
        p=fisher(cases, others),
    )
    return _mode(now, inside)


def _is_whole(one: Seen) -> bool:
    """Where facets were told, they say more than the whole does."""
    return one.means.keys() == {SCORE}


def _modes(facet: str, asked: Sequence[Seen]) -> list[Mode]:
    cases = _cases(facet, asked)
    concepts = suspects(facet, cases)
    left = [one for one in asked if not any(set(suspect.parts) <= one.parts for suspect in concepts)]
    found = [_mode(suspect, [one for one in asked if set(suspect.parts) <= one.parts]) for suspect in concepts]
    rest = [one for one in left if one.fails(facet)]
    if rest:
        prompts = _cases(facet, left)
        failing = sum(case.fails for case in prompts)
        share = failing / len(prompts)
        nothing = Suspect(facet=facet, parts=(), failing=failing, prompts=len(prompts), elsewhere=share, p=1.0)
        found.append(_mode(nothing, rest))
    return found


def _cases(facet: str, asked: Sequence[Seen]) -> list[Case]:
    """A case a prompt: it fails where most of its pictures do."""
    by_prompt: dict[str, list[Seen]] = defaultdict(list)
    for one in asked:
        by_prompt[one.prompt_id].append(one)
    return [
        Case(prompt_id=prompt, parts=of[0].parts, fails=2 * sum(one.fails(facet) for one in of) > len(of))
        for prompt, of in by_prompt.items()
    ]


def _mode(suspect: Suspect, inside: Sequence[Seen]) -> Mode:
    failing = sorted((one for one in inside if one.fails(suspect.facet)), key=lambda one: one.means[suspect.facet])
    return Mode(
        facet=suspect.facet,
        parts=suspect.parts,
        failing=suspect.failing,
        prompts=suspect.prompts,
        elsewhere=suspect.elsewhere,
        p=suspect.p,
        severity=sum(1 - one.means[suspect.facet] for one in failing) / len(failing) if failing else 0.0,
        pictures=tuple(one.picture for one in failing),
    )
