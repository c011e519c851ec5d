"""Who says how right a picture is: a checker of the rendered world, or models that look for what a suite's rule asks.

Picklable records; a worker elsewhere loads the weights itself.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from flywheel.encoders.vlm import Ask, Refused, Told
from flywheel.errors import UsageError
from flywheel.records import Failure, Reason
from flywheel.seeds import stable_hash
from flywheel.suites import SUITES
from flywheel.suites.item import Box, Item, Scored, Seen
from flywheel.workspace import Workspace
from model.miniature.suite import CHECKER_OF, CHECKERS, scene_of
from model.miniature.suite import NAME as MINIATURE
from model.miniature.suite import scored as miniature_scored
from pipelines.asking import waiting
from pipelines.captioner import Served, captioner_of, model_from

REPEATED_AT = 0.7  # the temperature of a second look: without chance it would be the first again; our choice
_YES_OR_NO = {
    "type": "object",
    "properties": {"answer": {"enum": ["yes", "no"]}},
    "required": ["answer"],
    "additionalProperties": False,
}
_BOXES = {
    "type": "array",
    "maxItems": 16,
    "items": {
        "type": "object",
        "properties": {
            "label": {"type": "string", "maxLength": 40},
            "color": {
                "enum": ["red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white"]
            },
            "bbox_2d": {"type": "array", "items": {"type": "integer"}, "minItems": 4, "maxItems": 4},
        },
        "required": ["label", "color", "bbox_2d"],
        "additionalProperties": False,
    },
}
_LOCATE = "Locate every {classes} in the image. For each give its label, its main color and its bbox_2d in JSON."


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A picture (encoded) of an item, and the how manieth look at it this is."""

    item: Item
    picture: bytes
    repeat: int = 0


class Judge(Protocol):
    @property
    def version(self) -> str:
        """Names all that a verdict depends on beside the picture."""
        ...

    @property
    def is_certain(self) -> bool:
        """Whether looking twice is seeing the same twice."""
        ...

    def scored(self, shown: Sequence[Shown]) -> list[Scored | Failure]:
        """In the order shown."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckerJudge:
    """The rendered world's checker of this name."""

    name: str
    is_certain: bool = True

    @property
    def version(self) -> str:
        return f"checker {self.name}"

    def scored(self, shown: Sequence[Shown]) -> list[Scored | Failure]:
        from PIL import Image

        checker = CHECKERS[self.name]
        return [
            miniature_scored(checker(scene_of(one.item), Image.open(io.BytesIO(one.picture)).convert("RGB")))
            for one in shown
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class LookingJudge:
    """A vision-language model answers and locates, an OCR reads, the suite's own rule says what that amounts to."""

    served: Served
    is_certain: bool = False

    @property
    def version(self) -> str:
        return f"{self.served.name}/{stable_hash([_YES_OR_NO, _BOXES, _LOCATE], 8)}"

    def scored(self, shown: Sequence[Shown]) -> list[Scored | Failure]:
        asks = [self._asks(one) for one in shown]
        flat = [ask for own in asks for ask in own]
        told = iter(model_from(self.served).answers(flat, waiting) if flat else [])
        return [self._judged(one, [next(told) for _ in own]) for one, own in zip(shown, asks, strict=True)]

    def _asks(self, one: Shown) -> list[Ask]:
        """Questions first, then where things are."""
        wanted = SUITES[one.item.suite].wanted(one.item)
        asks = [self._ask(one, question, _YES_OR_NO, 16) for question in wanted.questions]
        if wanted.classes:
            asks.append(self._ask(one, _LOCATE.format(classes=" and every ".join(wanted.classes)), _BOXES, 800))
        return asks

    def _judged(self, one: Shown, told: Sequence[Told | Refused]) -> Scored | Failure:
        suite = SUITES[one.item.suite]
        wanted = suite.wanted(one.item)
        refused = next((answer for answer in told if isinstance(answer, Refused)), None)
        if refused is not None:
            return Failure(Reason.SCORER_FAILED, refused.detail)
        try:
            read = [json.loads(answer.text) for answer in told if isinstance(answer, Told)]
            answers = {
                asked: float(said["answer"] == "yes") for asked, said in zip(wanted.questions, read, strict=False)
            }
            boxes = _boxes(wanted.classes, read[-1]) if wanted.classes else {}
        except (ValueError, KeyError, TypeError) as error:
            what = f"{type(error).__name__}: {error}"
            return Failure(Reason.SCORER_FAILED, f"{self.served.name} does not answer as it was asked to ({what})")
        lines = _lines(one.picture) if wanted.reads else ()
        return suite.scored(one.item, Seen(answers=answers, boxes=boxes, lines=lines))

    def _ask(self, one: Shown, prompt: str, schema: Mapping[str, Any], tokens: int) -> Ask:
        return Ask(
            image=one.picture,
            prompt=prompt,
            schema=schema,
            max_tokens=tokens,
            temperature=REPEATED_AT if one.repeat else 0.0,
            seed=one.repeat,
        )


def judge_of(workspace: Workspace, suite: str, role: str) -> Judge:
    """Raises UsageError where a suite needs models that the workspace has not."""
    if suite == MINIATURE:
        return CheckerJudge(name=CHECKER_OF[role])
    captioner = captioner_of(workspace)
    if captioner is None:
        raise UsageError(
            f"suite {suite} is judged by a vision-language model: `flywheel doctor` prints the line that mends it"
        )
    if captioner.style == "brief":
        raise UsageError(
            f"suite {suite} is of the world outside, and {captioner.name} knows the rendered one alone: use a workspace of "
            "the profile cpu or full, with a server as `flywheel doctor` names it"
        )
    return LookingJudge(served=captioner.served)


def _boxes(classes: Sequence[str], told: Sequence[Mapping[str, Any]]) -> dict[str, list[Box]]:
    """By class. A model that locates is sure of what it names: there is no confidence to hold against a threshold."""
    found: dict[str, list[Box]] = {name: [] for name in classes}
    for one in told:
        if one["label"] in found:
            x0, y0, x1, y1 = map(float, one["bbox_2d"])
            found[one["label"]].append(Box(box=(x0, y0, x1, y1), confidence=1.0, colour=one["color"]))
    return found


def _lines(picture: bytes) -> tuple[str, ...]:
    import numpy as np
    from PIL import Image

    from flywheel.encoders.ocr import rapid_reader

    rgb = np.asarray(Image.open(io.BytesIO(picture)).convert("RGB"))
    return tuple(line.text for line in rapid_reader().read(rgb).lines)
