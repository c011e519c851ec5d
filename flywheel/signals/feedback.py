"""What one person, or one judge, said of one picture, wherever it was written down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from flywheel.facets import Facet
from flywheel.seeds import stable_hash

REVIEW = "review"  # the source of what a person said having looked at what others said: it stands alone


@dataclass(frozen=True, slots=True, kw_only=True)
class Feedback:
    """`score` and facets are 0 for bad to 1 for good; what was not asked is left out.

    `rank`: where pictures of one prompt were only compared, the share of the others that this one was put before.
    `image`: a path, an address or an id, as the file has it. `generation`: the id by which a product knows the picture.
    `actor`: who says so, as far as the file tells raters apart. `source`: the kind of file.
    """

    source: str
    prompt: str = ""
    references: tuple[str, ...] = ()
    image: str = ""
    generation: str = ""
    checkpoint: str = ""
    seed: int | None = None
    score: float | None = None
    rank: float | None = None
    facets: Mapping[Facet, float] = field(default_factory=dict)
    comment: str = ""
    actor: str = ""
    at: str = ""

    @property
    def feedback_id(self) -> str:
        """Of all that was said: the same line read twice is one."""
        said = {name: getattr(self, name) for name in self.__slots__ if name != "facets"}
        return stable_hash([said, {str(facet): score for facet, score in self.facets.items()}], 32)

    @property
    def picture(self) -> str:
        """What tells apart the pictures that people speak of."""
        return self.generation or stable_hash([self.prompt, self.image, self.checkpoint, self.seed], 32)

    @property
    def missing(self) -> tuple[str, ...]:
        """Fields without which the very picture cannot be made again; empty where it can."""
        has = {"prompt": self.prompt, "checkpoint": self.checkpoint, "seed": self.seed is not None}
        return tuple(name for name, there in has.items() if not there)
