"""A generator that draws the world as it is, but for what is planted: the truth that triage must find out."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

from flywheel.records import Failure
from flywheel.seeds import stable_hash
from flywheel.suites.item import Scored
from flywheel.workspace import Workspace
from model.miniature import matched
from model.miniature.render import render
from model.miniature.scene import Scene
from model.miniature.suite import scene_of, scored
from model.miniature.wording import plain
from pipelines.generators import Request
from pipelines.judges import Shown
from pipelines.judging import open_workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class PlantedGenerator:
    """Draws things of `shape` as rings, in so many of a hundred pictures; where `plainly`, not when asked as captions say it."""

    where: str
    shape: str = "cross"
    fails_in_100: int = 100
    plainly: bool = False
    sampler_json: str = "{}"

    @property
    def checkpoint_id(self) -> str:
        return stable_hash(["planted", self.shape, self.fails_in_100, self.plainly], 32)

    def drawn(self, requests: Sequence[Request], references: Sequence[Sequence[bytes]]) -> list[bytes | Failure]:
        scenes = _scenes(open_workspace(self.where))
        return [self._picture(scenes[one.item_id], one) for one in requests]

    def _picture(self, scene: Scene, asked: Request) -> bytes:
        lot = int(stable_hash([asked.prompt, asked.seed], 8), 16) % 100
        if lot < self.fails_in_100 and not (self.plainly and asked.prompt == plain(scene)):
            things = [replace(one, shape="ring") if one.shape == self.shape else one for one in scene.things]
            scene = replace(scene, things=tuple(things))
        file = io.BytesIO()
        render(scene, 96, asked.seed).image.save(file, "PNG")
        return file.getvalue()


@dataclass(frozen=True, slots=True, kw_only=True)
class BlindJudge:
    """Checker A, but that it takes every thing of `shape` for another."""

    shape: str = "cross"
    is_certain: bool = True
    version: str = "blind checker"

    def scored(self, shown: Sequence[Shown]) -> list[Scored | Failure]:
        from PIL import Image

        found: list[Scored | Failure] = []
        for one in shown:
            scene = scene_of(one.item)
            verdict = matched.check(scene, Image.open(io.BytesIO(one.picture)).convert("RGB"))
            wrong = any(thing.shape == self.shape for thing in scene.things)
            found.append(scored(replace(verdict, facets={**verdict.facets, **({"shapes": False} if wrong else {})})))
        return found


def _scenes(workspace: Workspace) -> dict[str, Scene]:
    rows = workspace.query("SELECT item_id, checks_json FROM suite_items").to_pylist()
    return {row["item_id"]: Scene.from_dict(json.loads(row["checks_json"])["scene"]) for row in rows}
