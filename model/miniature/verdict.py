"""What a checker says of a picture: facet by facet, whether it shows what the scene says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from PIL import Image

from model.miniature.scene import Scene

# `places`: a thing stands in each cell where one should, and nowhere else; `words`: every sign of the line, and none
# beside it. Facets that a scene does not have are left out.
FACETS = ("background", "places", "shapes", "sizes", "colours", "words", "word colour")


@dataclass(frozen=True, slots=True)
class Verdict:
    """Facets of FACETS, in their order."""

    facets: Mapping[str, bool]

    @property
    def exact(self) -> bool:
        return all(self.facets.values())

    @property
    def share(self) -> float:
        """Of the facets that hold, 0..1: a reward with steps."""
        return sum(self.facets.values()) / len(self.facets)


class Checker(Protocol):
    def __call__(self, scene: Scene, image: Image.Image) -> Verdict:
        """Hold a square picture of any side to its scene."""
        ...
