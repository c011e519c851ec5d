"""What a worker does with a micro-batch of images: pictures from its child, captions from the model, each verified.

All kinds of one image are asked one after the other, the picture first, so that a server encodes it once. What fails is asked
again with another seed, and with some chance, since without it the same answer would come.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from captioners import CAPTIONERS, Given
from captioners.verification import Verified, verify
from flywheel.encoders.vlm import Ask, Refused, Told, VisionLanguageModel
from flywheel.images.sandbox import Sandbox
from flywheel.records import Failure, Locator, Reason
from flywheel.seeds import stable_hash
from pipelines.captioner import Captioner, model_from

AGAIN_AT = 0.7  # the temperature of a second ask; our choice
_SAID_EVERY_S = 15.0
_LOG = logging.getLogger("flywheel")


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptionItem:
    """One image and the kinds that it lacks. Those in `there` are written already, and only their completion is missing."""

    image_id: str
    locator: Locator
    given: Given
    kinds: tuple[str, ...]
    there: tuple[str, ...]
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """The last answer for one caption, and what all asks for it cost. `last_tokens` are those of the last answer alone."""

    verified: Verified
    seed: int
    asked: int
    prompt_tokens: int
    tokens: int
    last_tokens: int
    seconds: float


def caption_id(image_id: str, kind: str, version: str, seed: int) -> str:
    return stable_hash([image_id, kind, version, seed], 32)


def captioned(
    items: Sequence[CaptionItem], sandbox: Sandbox[Any, Any], captioner: Captioner
) -> list[Mapping[str, Written | Failure] | Failure]:
    """Captions by kind for each image, or why the image itself could not be shown."""
    model = model_from(captioner.served)
    pictures = list(sandbox.run(items))
    shown = [(item, picture) for item, picture in zip(items, pictures, strict=True) if not isinstance(picture, Failure)]
    told = iter(write(shown, captioner, model))
    return [picture if isinstance(picture, Failure) else next(told) for picture in pictures]


def write(
    shown: Sequence[tuple[CaptionItem, bytes]], captioner: Captioner, model: VisionLanguageModel
) -> list[Mapping[str, Written | Failure]]:
    """All captions of these pictures, asked in rounds until each is accepted or was asked often enough."""
    found: list[dict[str, Written | Failure]] = [{} for _ in shown]
    for again in range(captioner.asks):
        asked = list(_open(shown, found))
        asks = [_ask(shown[at], kind, captioner, again) for at, kind in asked]
        for (at, kind), answer in zip(asked, model.answers(asks, waiting), strict=True):
            if isinstance(answer, Refused):
                reason = Reason.CAPTION_FAILED if answer.again else Reason.CAPTION_REFUSED
                found[at][kind] = Failure(reason, answer.detail)
            else:
                item, _ = shown[at]
                found[at][kind] = _judged(item, kind, answer, again, found[at])
    return [dict(one) for one in found]


def waiting(said: str) -> None:
    """Told about once a second; said now and then."""
    global _said_at
    if time.monotonic() - _said_at > _SAID_EVERY_S:
        _said_at = time.monotonic()
        _LOG.warning(said)


_said_at = float("-inf")


def _open(shown: Sequence[tuple[CaptionItem, bytes]], found: Sequence[Mapping[str, Any]]) -> Iterator[tuple[int, str]]:
    """What is still to be asked, image by image, kinds in the order of CAPTIONERS."""
    for at, (item, _) in enumerate(shown):
        for kind in CAPTIONERS:
            last = found[at].get(kind)
            if kind in item.kinds and kind not in item.there and (last is None or _is_wrong(last)):
                yield at, kind


def _is_wrong(written: Written | Failure) -> bool:
    return isinstance(written, Written) and not written.verified.accepted


def _ask(shown: tuple[CaptionItem, bytes], kind: str, captioner: Captioner, again: int) -> Ask:
    item, picture = shown
    asked = CAPTIONERS[kind]
    facts = json.dumps(dict(item.given.facts), ensure_ascii=False, separators=(",", ":")) if asked.takes_facts else ""
    return Ask(
        image=picture,
        prompt=asked.asks[captioner.style] + facts,
        schema=asked.schema,
        max_tokens=asked.max_tokens,
        temperature=AGAIN_AT if again else 0.0,
        seed=_seed(item.image_id, kind, again),
    )


def _seed(image_id: str, kind: str, again: int) -> int:
    """Of one request, the same in every run."""
    return int(stable_hash([image_id, kind, again], 8), 16) >> 1


def _judged(item: CaptionItem, kind: str, told: Told, again: int, found: Mapping[str, Written | Failure]) -> Written:
    given, general = item.given, found.get("general")
    if isinstance(general, Written):
        given = replace(given, general=general.verified.text if general.verified.accepted else None)
    verified = verify(CAPTIONERS[kind], told.text, complete=told.finish == "stop", given=given)
    before = found.get(kind)
    spent = before if isinstance(before, Written) else None
    return Written(
        verified=verified,
        seed=_seed(item.image_id, kind, again),
        asked=again + 1,
        prompt_tokens=told.prompt_tokens + (spent.prompt_tokens if spent else 0),
        tokens=told.completion_tokens + (spent.tokens if spent else 0),
        last_tokens=told.completion_tokens,
        seconds=told.seconds + (spent.seconds if spent else 0.0),
    )
