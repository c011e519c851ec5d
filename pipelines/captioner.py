"""Who answers: weights on this machine or servers, as the recipe and the configuration say; one client a process."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from captioners import CAPTIONERS
from captioners.kind import Style
from flywheel.encoders.vlm import VisionLanguageModel
from flywheel.seeds import stable_hash
from flywheel.workspace import Workspace
from pipelines.profiles import find_weights, recipe_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """`urls` of servers that know the model by `name`, or the `folder` of its weights."""

    name: str
    folder: Path | None
    urls: tuple[str, ...]
    in_flight: int
    timeout_s: float
    max_wait_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Captioner:
    """Who writes captions and how they are asked. Picklable: a worker elsewhere makes its own client."""

    served: Served
    style: Style
    asks: int
    max_pixels: int

    @property
    def name(self) -> str:
        return self.served.name

    def version(self, kind: str) -> str:
        """The weights and the words: another prompt or schema is another captioner."""
        asked = CAPTIONERS[kind]
        return f"{self.name}/{stable_hash([asked.asks[self.style], asked.schema, asked.max_tokens], 8)}"


def captioner_of(workspace: Workspace) -> Captioner | None:
    """None where the recipe names no captioner, or one that is neither served nor on this machine."""
    recipe, said = recipe_of(workspace), workspace.config.captioner
    folder = None if said.urls else find_weights(recipe.captioner)
    if recipe.captioner is None or not (said.urls or folder):
        return None
    served = Served(
        name=said.served_as or (folder.name if folder else recipe.captioner),
        folder=folder,
        urls=said.urls,
        in_flight=said.in_flight,
        timeout_s=said.timeout_s,
        max_wait_s=said.max_wait_s,
    )
    return Captioner(served=served, style=recipe.prompts, asks=said.asks, max_pixels=said.max_pixels)


@cache
def model_from(served: Served) -> VisionLanguageModel:
    """The client of this process. Raises FlywheelError for weights that cannot be loaded."""
    if served.folder is not None:
        from flywheel.encoders.vlm_local import local_vlm

        return local_vlm(served.folder)
    from flywheel.encoders.server import ServerSettings
    from flywheel.encoders.vlm_server import ServerVlm

    return ServerVlm(
        ServerSettings(
            urls=served.urls,
            model=served.name,
            in_flight=served.in_flight,
            timeout_s=served.timeout_s,
            max_wait_s=served.max_wait_s,
        )
    )
