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
from flywheel.suites.item import Box, Item, Scored, Seen, Wanted
from flywheel.workspace import Workspace
from model.miniature.suite import CHECKER_OF, CHECKERS
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


class Judge(Protocol):
    @property
    def version(self) -> str:
        """Names all that a verdict depends on beside the picture."""
        ...

    @property
    def is_certain(self) -> bool:
        """Whether looking twice is seeing the same twice."""
        ...

    def scored(self, item: Item, picture: bytes, repeat: int) -> Scored | Failure: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckerJudge:
    """The rendered world's checker of this name."""

    name: str
    is_certain: bool = True

    @property
    def version(self) -> str:
        return f"checker {self.name}"

    def scored(self, item: Item, picture: bytes, repeat: int) -> Scored | Failure:
        from PIL import Image

        return miniature_scored(item, Image.open(io.BytesIO(picture)).convert("RGB"), CHECKERS[self.name])


@dataclass(frozen=True, slots=True, kw_only=True)
class LookingJudge:
    """A vision-language model answers and locates, an OCR reads, the suite's own rule says what that amounts to."""

    served: Served
    is_certain: bool = False

    @property
    def version(self) -> str:
        return f"{self.served.name}/{stable_hash([_YES_OR_NO, _BOXES, _LOCATE], 8)}"

    def scored(self, item: Item, picture: bytes, repeat: int) -> Scored | Failure:
        suite = SUITES[item.suite]
        seen = self._seen(suite.wanted(item), picture, repeat)
        return seen if isinstance(seen, Failure) else suite.scored(item, seen)

    def _seen(self, wanted: Wanted, picture: bytes, repeat: int) -> Seen | Failure:
        asks = [self._ask(picture, question, _YES_OR_NO, 16, repeat) for question in wanted.questions]
        if wanted.classes:
            asks.append(
                self._ask(picture, _LOCATE.format(classes=" and every ".join(wanted.classes)), _BOXES, 800, repeat)
            )
        told = model_from(self.served).answers(asks, waiting) if asks else []
        refused = next((one for one in told if isinstance(one, Refused)), None)
        if refused is not None:
            return Failure(Reason.SCORER_FAILED, refused.detail)
        try:
            read = [json.loads(one.text) for one in told if isinstance(one, Told)]
            answers = {
                question: float(one["answer"] == "yes") for question, one in zip(wanted.questions, read, strict=False)
            }
            boxes = _boxes(wanted.classes, read[-1]) if wanted.classes else {}
        except (ValueError, KeyError, TypeError) as error:
            what = f"{type(error).__name__}: {error}"
            return Failure(Reason.SCORER_FAILED, f"{self.served.name} does not answer as it was asked to ({what})")
        return Seen(answers=answers, boxes=boxes, lines=_lines(picture) if wanted.reads else ())

    def _ask(self, picture: bytes, prompt: str, schema: Mapping[str, Any], tokens: int, repeat: int) -> Ask:
        return Ask(
            image=picture,
            prompt=prompt,
            schema=schema,
            max_tokens=tokens,
            temperature=REPEATED_AT if repeat else 0.0,
            seed=repeat,
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
