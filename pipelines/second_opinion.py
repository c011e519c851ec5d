"""Another judge than the one whose verdicts are in question: a captioner says what it sees, and that is held to the prompt.

It saw neither the prompt nor the first verdict, and nobody who built a checker built it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from captioners import CAPTIONERS
from flywheel.encoders.vlm import Ask, Refused
from flywheel.records import Failure, Reason
from flywheel.suites.item import Scored
from flywheel.workspace import Workspace
from model.miniature.suite import NAME as MINIATURE
from model.miniature.suite import scene_of, scored
from model.miniature.told import told
from pipelines.asking import waiting
from pipelines.captioner import Captioner, captioner_of, model_from
from pipelines.judges import Judge, Shown

_KIND = "structured"


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptioningJudge:
    """Of the rendered world's prompts: their scenes are held to the captioner's own account of the picture."""

    captioner: Captioner
    is_certain: bool = True

    @property
    def version(self) -> str:
        return f"told by {self.captioner.version(_KIND)}"

    def scored(self, shown: Sequence[Shown]) -> list[Scored | Failure]:
        kind = CAPTIONERS[_KIND]
        asks = [
            Ask(
                image=one.picture,
                prompt=kind.asks[self.captioner.style],
                schema=kind.schema,
                max_tokens=kind.max_tokens,
            )
            for one in shown
        ]
        answers = model_from(self.captioner.served).answers(asks, waiting)
        return [
            Failure(Reason.SCORER_FAILED, answer.detail) if isinstance(answer, Refused) else _held(one, answer.text)
            for one, answer in zip(shown, answers, strict=True)
        ]


def second_judge(workspace: Workspace, first: Judge, suite: str) -> Judge | None:
    """None where there is nobody else to ask."""
    captioner = captioner_of(workspace)
    if suite != MINIATURE or captioner is None:
        return None
    second = CaptioningJudge(captioner=captioner)
    return None if second.version == first.version else second


def _held(one: Shown, account: str) -> Scored | Failure:
    try:
        return scored(told(scene_of(one.item), json.loads(account)))
    except (ValueError, KeyError, TypeError) as error:
        return Failure(Reason.SCORER_FAILED, f"an account of another shape ({type(error).__name__}: {error})")
