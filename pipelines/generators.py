"""Who draws: weights on this machine, or an images endpoint that serves the checkpoint. Requests in, encoded pictures out."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Protocol

from flywheel.encoders.vlm import Refused
from flywheel.records import Budgets, Failure, Locator, Reason
from flywheel.seeds import stable_hash
from pipelines.asking import waiting
from pipelines.checkpoints import Checkpoint

if TYPE_CHECKING:
    from PIL import Image

    from flywheel.encoders.images_server import ImagesServer
    from model.sample import ImageModel, Sampling

_DRAWING = Lock()  # one network a process: its threads use every core already


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


class Generator(Protocol):
    """A checkpoint under one way of sampling. Picklable: a worker elsewhere makes its own network or client."""

    @property
    def checkpoint_id(self) -> str: ...

    @property
    def sampler_json(self) -> str: ...

    def drawn(self, requests: Sequence[Request], references: Sequence[Sequence[bytes]]) -> list[bytes | Failure]:
        """An encoded picture a request; all have as many references."""
        ...


def generation_id(generator: Generator, request: Request) -> str:
    """Of all that a picture depends on."""
    references = [one.image_id for one in request.references]
    asked = [generator.checkpoint_id, request.prompt, references, request.seed, generator.sampler_json]
    return stable_hash(asked, 32)


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalGenerator:
    """The bundled sampler over a folder of weights."""

    checkpoint_id: str
    folder: Path
    sampler_json: str

    def drawn(self, requests: Sequence[Request], references: Sequence[Sequence[bytes]]) -> list[bytes | Failure]:
        from PIL import Image

        seen = [[Image.open(io.BytesIO(one)).convert("RGB") for one in own] for own in references]
        prompts, seeds = [one.prompt for one in requests], [one.seed for one in requests]
        with _DRAWING:
            model = _loaded(self.folder)
            pictures = model.generate(prompts, seeds, _sampling(self.sampler_json), seen if any(seen) else None)
        return [_png(picture) for picture in pictures]

    def reconstructed(self, pictures: Sequence[Image.Image]) -> list[bytes]:
        """Through the checkpoint's autoencoder alone, encoded."""
        with _DRAWING:
            return [_png(one) for one in _loaded(self.folder).reconstructed(pictures)]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedGenerator:
    """An OpenAI-style images endpoint. That it serves this model is checked before anything is asked of it."""

    checkpoint_id: str
    url: str
    model: str
    sampler_json: str
    budgets: Budgets

    def drawn(self, requests: Sequence[Request], references: Sequence[Sequence[bytes]]) -> list[bytes | Failure]:
        from flywheel.encoders.images_server import Drawing

        sampler = json.loads(self.sampler_json)
        asked = [
            Drawing(prompt=one.prompt, seed=one.seed, references=tuple(own), **sampler)
            for one, own in zip(requests, references, strict=True)
        ]
        told = _client(self.url, self.model, self.budgets).drawn(asked, waiting)
        return [_refused(one) if isinstance(one, Refused) else one for one in told]


def local_generator(checkpoint: Checkpoint, changes: Mapping[str, Any]) -> LocalGenerator:
    """The checkpoint as it samples by itself, but for the changes. Raises FlywheelError for what is no checkpoint."""
    from model.sample import scheduler_of

    _, usual = scheduler_of(checkpoint.folder)
    told = json.dumps(asdict(replace(usual, **changes)), sort_keys=True)
    return LocalGenerator(checkpoint_id=checkpoint.checkpoint_id, folder=checkpoint.folder, sampler_json=told)


def served_generator(
    checkpoint: Checkpoint,
    budgets: Budgets,
    *,
    width_px: int,
    height_px: int,
    steps: int | None,
    guidance: float | None,
) -> ServedGenerator:
    """The checkpoint behind its endpoint; None: as the server does it by itself."""
    sampler = {"width_px": width_px, "height_px": height_px, "steps": steps, "guidance": guidance}
    return ServedGenerator(
        checkpoint_id=checkpoint.checkpoint_id,
        url=checkpoint.place,
        model=checkpoint.name,
        sampler_json=json.dumps(sampler, sort_keys=True),
        budgets=budgets,
    )


@cache
def _loaded(folder: Path) -> ImageModel:
    from model.precision import best_device
    from model.sample import ImageModel

    return ImageModel.load_pretrained(folder, best_device())


@cache
def _client(url: str, model: str, budgets: Budgets) -> ImagesServer:
    from flywheel.encoders.images_server import ImagesServer
    from flywheel.encoders.server import ServerSettings

    return ImagesServer(ServerSettings(urls=(url,), model=model), budgets)


def _refused(refused: Refused) -> Failure:
    return Failure(Reason.GENERATION_FAILED if refused.again else Reason.GENERATION_REFUSED, refused.detail)


def _sampling(told: str) -> Sampling:
    from model.sample import Sampling

    read = json.loads(told)
    return Sampling(**{**read, "sigmas": tuple(read["sigmas"]) if read["sigmas"] else None})


def _png(picture: Any) -> bytes:
    held = io.BytesIO()
    picture.save(held, "PNG")
    return held.getvalue()
