"""What every experiment works with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from flywheel.evidence.share import Share
from flywheel.suites.item import Item
from flywheel.triage.attribution import Experiment
from flywheel.triage.concepts import Parts as Parts
from flywheel.triage.modes import Seen
from flywheel.workspace import Workspace
from pipelines.collecting import pictures_of, seen_of
from pipelines.engine import Progress
from pipelines.evaluating import evaluate
from pipelines.executors import Executor
from pipelines.fresh import fresh_prompts, generations_of, number_of
from pipelines.generators import Generator
from pipelines.judges import Judge
from pipelines.modes_shown import ModeShown

_LEAST = 6  # pictures that a concept needs to count as one that does well; our choice
_HEALTHY = 0.8  # so many of them are right; our choice


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A mode of a checkpoint, what draws it and who judges."""

    workspace: Workspace
    mode: ModeShown
    generator: Generator
    judge: Judge
    executor: Executor
    progress: Progress

    def prompts(self, wanted: Experiment) -> list[Item]:
        """Fresh ones of the mode: the same for reseed and rewrite, whose pictures are compared."""
        stream = [number_of(self.mode.mode_id), number_of(self.generator.checkpoint_id), wanted.round, 2]
        return fresh_prompts(self.workspace, self.mode.parts, wanted.prompts, stream)

    def drawn(self, items: Sequence[Item], seeds: int) -> list[Seen]:
        """Every prompt under so many seeds, judged. What was drawn before is not drawn again."""
        evaluate(self.workspace, self.generator, items, self.judge, self.executor, self.progress, seeds=seeds)
        return seen_of(self.workspace, generations_of(self.workspace, self.generator, items), self.judge.version)


def healthy_concepts(trial: Trial) -> list[Parts]:
    """Concepts of as many parts as the mode's whose pictures are mostly right in its facet."""
    asked: Counter[Parts] = Counter()
    right: Counter[Parts] = Counter()
    for one in pictures_of(trial.workspace, trial.generator.checkpoint_id):
        if trial.mode.facet in one.means:
            own = [frozenset(parts) for parts in combinations(sorted(one.parts), len(trial.mode.parts))]
            asked.update(own)
            right.update([] if one.fails(trial.mode.facet) else own)
    return [parts for parts, number in asked.items() if number >= _LEAST and right[parts] >= _HEALTHY * number]


def right_by_prompt(seen: Sequence[Seen], facet: str) -> dict[str, list[bool]]:
    """Of each prompt, whether its pictures are right in the facet; pictures that were not asked it are left out."""
    found: dict[str, list[bool]] = {}
    for one in seen:
        if facet in one.means:
            found.setdefault(one.prompt_id, []).append(not one.fails(facet))
    return found


def share_of(right: Sequence[float]) -> Share:
    """Of prompts: pictures of one prompt are alike, and count once."""
    return Share(mean=sum(right) / len(right) if right else 0.0, of=len(right))
