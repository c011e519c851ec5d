"""How hard a prompt is, and what the bundled generator must never have been shown.

    L1  one thing                                   L4  a word that no training prompt has
    L2  two or three, in cells or beside another    L5  a second script; apart, two lines
    L3  four, and things that only their number tells apart

Never shown: what `roles` keeps for others, things of the colours and shapes in NEVER_PAIRED, and words that `is_unseen`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from flywheel.seeds import stable_hash
from model.miniature import grammar, phrasing, wording
from model.miniature.lot import pick
from model.miniature.roles import role_of
from model.miniature.scene import Scene
from model.miniature.vocabulary import LETTERS, SCRIPTS

# Each shape once, no colour twice: every colour and every shape is seen with others. Our choice.
NEVER_PAIRED = (
    ("red", "heart"),
    ("green", "star"),
    ("blue", "ring"),
    ("yellow", "cross"),
    ("purple", "triangle"),
    ("orange", "square"),
)
_SECOND_SCRIPTS = tuple(script for script in SCRIPTS if script != "latin")
_UNSEEN, _SHORTEST = 10, 3  # one word in so many is kept back; shorter ones are too few


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """`unseen`: words of lines are new ones. `wants`: what a scene of these kinds must be beside."""

    kinds: Sequence[str]
    scripts: Sequence[str] = ("latin",)
    unseen: bool = False
    wants: Callable[[Scene], bool] = lambda scene: True


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """A scene, and how it is asked for."""

    scene: Scene
    text: str


def is_unseen(text: str) -> bool:
    """Whether a word is kept from training, by its letters alone."""
    return len(text) >= _SHORTEST and int(stable_hash(["word", text]), 16) % _UNSEEN == 0


def may_be_shown(scene: Scene, text: str) -> bool:
    """Whether a prompt is one to train on."""
    return (
        role_of(scene.subject_id, text) == "train"
        and not any((thing.colour, thing.shape) in NEVER_PAIRED for thing in scene.things)
        and not any(line.script == "latin" and is_unseen(line.text) for line in scene.lines)
    )


LEVELS: Mapping[str, Level] = {
    "L1": Level(kinds=("one",)),
    "L2": Level(kinds=("two", "pair", "three", "pair and one")),
    "L3": Level(kinds=("four", "two alike", "three alike", "four alike")),
    "L4": Level(kinds=("word", "word and one"), unseen=True),
    "L5": Level(kinds=("word", "word and one"), scripts=_SECOND_SCRIPTS),
    "L5, two lines": Level(kinds=("two words",)),
    "never paired": Level(
        kinds=("one", "two", "pair"),
        wants=lambda scene: any((thing.colour, thing.shape) in NEVER_PAIRED for thing in scene.things),
    ),
    "paired": Level(
        kinds=("one", "two", "pair"),
        wants=lambda scene: not any((thing.colour, thing.shape) in NEVER_PAIRED for thing in scene.things),
    ),
}


def prompts(level: str, number: int, role: str, seed: int = 0) -> list[Prompt]:
    """Different ones, always the same ones first. Raises KeyError for a level that is none."""
    return prompts_of(LEVELS[level], number, role, [seed, *level.encode()])


def prompts_of(level: Level, number: int, role: str, seed: Sequence[int] = (0,)) -> list[Prompt]:
    found: dict[str, Prompt] = {}
    for prompt in _drawn(level, role, np.random.default_rng(list(seed))):
        found.setdefault(prompt.text, prompt)
        if len(found) == number:
            break
    return list(found.values())


def anything(role: str, seed: Sequence[int]) -> Iterator[tuple[str, Prompt]]:
    """(level, prompt) without end, level after level in turn; a prompt may come twice."""
    each = {name: _drawn(level, role, np.random.default_rng([*seed, *name.encode()])) for name, level in LEVELS.items()}
    while True:
        for name, of in each.items():
            yield name, next(of)


def said(scene: Scene, rng: np.random.Generator) -> str:
    """As captions say it, or as people ask for it."""
    return wording.wording(scene, rng) if rng.random() < 0.5 else phrasing.phrased(scene, rng)


def _drawn(level: Level, role: str, rng: np.random.Generator) -> Iterator[Prompt]:
    # Scenes of other levels may be of pairs that were never shown; theirs is a level of its own.
    held_out = () if level is LEVELS["never paired"] else NEVER_PAIRED
    while True:
        scene = grammar.sample(rng, pick(rng, level.kinds), scripts=level.scripts, held_out=held_out)
        if level.unseen:
            scene = replace(scene, lines=tuple(replace(line, text=_unseen_word(rng)) for line in scene.lines))
        text = said(scene, rng)
        if level.wants(scene) and role_of(scene.subject_id, text) == role:
            yield Prompt(scene=scene, text=text)


def _unseen_word(rng: np.random.Generator) -> str:
    while True:
        length = int(rng.integers(_SHORTEST, grammar.MOST_LETTERS + 1))
        word = "".join(pick(rng, tuple(LETTERS)) for _ in range(length))
        if is_unseen(word):
            return word
