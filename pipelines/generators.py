"""Who draws: weights on this machine. Requests in, PNG bytes out; one network a process."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flywheel.records import Locator
from flywheel.seeds import stable_hash
from pipelines.checkpoints import Checkpoint

if TYPE_CHECKING:
    from model.sample import ImageModel, Sampling


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A picture to edit, as a worker's child reads it again."""

    image_id: str
    locator: Locator


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One picture that is wanted. `attempt`: how often it was tried, this time included."""

    item_id: str
    prompt: str
    references: tuple[Reference, ...]
    seed: int
    attempt: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Generator:
    """A checkpoint under one way of sampling. Picklable: a worker elsewhere loads the weights itself."""

    checkpoint_id: str
    folder: Path
    sampler_json: str

    def generation_id(self, request: Request) -> str:
        """Of all that a picture depends on."""
        references = [one.image_id for one in request.references]
        return stable_hash([self.checkpoint_id, request.prompt, references, request.seed, self.sampler_json], 32)

    def drawn(self, requests: Sequence[Request], references: Sequence[Sequence[bytes]]) -> list[bytes]:
        """A PNG a request; all have as many references, of the same sizes."""
        from PIL import Image

        model, sampling = _loaded(self.folder), _sampling(self.sampler_json)
        seen = [[Image.open(io.BytesIO(one)).convert("RGB") for one in own] for own in references]
        pictures = model.generate(
            [one.prompt for one in requests], [one.seed for one in requests], sampling, seen if any(seen) else None
        )
        return [_png(picture) for picture in pictures]


def generator_of(checkpoint: Checkpoint, changes: Mapping[str, Any]) -> Generator:
    """The checkpoint as it samples by itself, but for the changes. Raises FlywheelError for what is no checkpoint."""
    from model.sample import scheduler_of

    _, usual = scheduler_of(checkpoint.folder)
    told = json.dumps(asdict(replace(usual, **changes)), sort_keys=True)
    return Generator(checkpoint_id=checkpoint.checkpoint_id, folder=checkpoint.folder, sampler_json=told)


@cache
def _loaded(folder: Path) -> ImageModel:
    from model.precision import best_device
    from model.sample import ImageModel

    return ImageModel.load_pretrained(folder, best_device())


def _sampling(told: str) -> Sampling:
    from model.sample import Sampling

    read = json.loads(told)
    return Sampling(**{**read, "sigmas": tuple(read["sigmas"]) if read["sigmas"] else None})


def _png(picture: Any) -> bytes:
    held = io.BytesIO()
    picture.save(held, "PNG")
    return held.getvalue()
