"""The rules of the six stages, in their order of evaluation and of blame. A new rule is one entry in RULES.

Operators and stages follow the report (Qwen-Image-2.0, section 4.3 and its figure of the six stages); luma, flat,
noise and aspect come from its parent's (Qwen-Image, section on data). Files that do not decode are the report's first
operator: they are refused at ingest and never reach a rule. The report puts aesthetics at stage 4; a threshold at
every stage is our choice, as are all thresholds: those are a policy's, see `filters.policy`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

STAGES = (1, 2, 3, 4, 5, 6)
DOMAINS = ("photo", "design", "poster", "slide", "diagram", "document", "synthetic")

Kind = Literal["min", "max", "range", "flag", "standing", "balance"]
Subject = Literal["image", "pair", "set"]
Bound = Literal["min", "max"]

_BOUNDS: Mapping[Kind, tuple[Bound, ...]] = {
    "min": ("min",),
    "max": ("max",),
    "range": ("min", "max"),
    "flag": (),
    "standing": (),
    "balance": ("max",),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One question asked of stored numbers.

    `expression` is SQL over the view `scores`. A number below `min` or above `max` drops the image, a true flag
    does too. `standing` is a flag over `place`, the rank of an image in its duplicate group (NULL outside of one):
    1 is the one that the other rules let furthest, see `filters.fates`.
    NULL passes when the scorers in `needs` have run (they abstained on purpose: a PNG has no JPEG quality) and
    leaves the image unjudged when one has not. `measured` overrides that test, as SQL, for numbers that no
    scorer table holds.
    `subject` is what is judged: an image, an edit pair (see `filters.pairs`) or the set of all that is left.
    """

    name: str
    enters_at_stage: int
    kind: Kind
    expression: str
    needs: tuple[str, ...] = ()
    measured: str | None = None
    subject: Subject = "image"
    says: str

    @property
    def bounds(self) -> tuple[Bound, ...]:
        """The thresholds that a policy must give."""
        return _BOUNDS[self.kind]

    @property
    def stages(self) -> tuple[int, ...]:
        return STAGES[self.enters_at_stage - 1 :]

    @property
    def measured_sql(self) -> str:
        """SQL: whether the number was measured at the pinned version. Never NULL."""
        if self.measured is not None:
            return self.measured
        return " AND ".join(f"{scorer}_version IS NOT NULL" for scorer in self.needs) or "true"


_ALL = (
    Rule(
        name="short_side",
        enters_at_stage=1,
        kind="min",
        expression="short_side_px",
        says="the short side is long enough to train at this stage, px",
    ),
    Rule(
        name="aspect",
        enters_at_stage=1,
        kind="max",
        expression="crop_loss",
        says="cropping to the nearest of the nine aspect-ratio buckets loses little of the area",
    ),
    Rule(
        name="duplicate",
        enters_at_stage=1,
        kind="standing",
        expression="place > 1",
        needs=("phash",),
        says="no other image stands for this one: of near duplicates the one stays that the other rules let furthest",
    ),
    Rule(
        name="nsfw",
        enters_at_stage=1,
        kind="max",
        expression="nsfw",
        needs=("nsfw",),
        says="safe to learn from, probability of the opposite",
    ),
    Rule(
        name="rotation",
        enters_at_stage=1,
        kind="max",
        expression="sideways",
        needs=("orientation",),
        says="the picture does not lie on its side",
    ),
    Rule(
        name="entropy",
        enters_at_stage=1,
        kind="range",
        expression="entropy_bits",
        needs=("tone",),
        says="neither empty nor mere noise, bits of the luma histogram",
    ),
    Rule(
        name="flat",
        enters_at_stage=1,
        kind="max",
        expression="flat_share",
        needs=("tone",),
        says="enough of the picture shows something",
    ),
    Rule(
        name="luma",
        enters_at_stage=1,
        kind="range",
        expression="luma_mean",
        needs=("tone",),
        says="neither black nor blown out, mean luma 0..1",
    ),
    Rule(
        name="token_length",
        enters_at_stage=1,
        kind="range",
        expression="caption_tokens",
        measured="caption_tokens IS NOT NULL",
        says="the caption says something and fits the condition encoder, tokens",
    ),
    Rule(
        name="clip",
        enters_at_stage=1,
        kind="min",
        expression="clip",
        needs=("clip",),
        measured="clip IS NOT NULL",
        says="image and caption agree, cosine",
    ),
    Rule(
        name="aesthetic",
        enters_at_stage=1,
        kind="min",
        expression="aesthetic",
        needs=("aesthetic",),
        says="people would like to look at it, 1..10",
    ),
    Rule(
        name="pair_consistency",
        enters_at_stage=2,
        kind="range",
        expression="consistency",
        measured="consistency IS NOT NULL",
        subject="pair",
        says="an edit changes something and keeps the rest, 0..1",
    ),
    Rule(
        name="sharpness",
        enters_at_stage=4,
        kind="min",
        expression="sharpness",
        needs=("sharpness",),
        says="image quality: the sharpest edges are sharp, 0..1",
    ),
    Rule(
        name="noise",
        enters_at_stage=4,
        kind="max",
        expression="sigma",
        needs=("noise",),
        says="image quality: sigma of the noise, in levels of 255",
    ),
    Rule(
        name="blockiness",
        enters_at_stage=4,
        kind="max",
        expression="blockiness",
        needs=("blockiness",),
        says="compression quality: no visible 8 x 8 grid",
    ),
    Rule(
        name="jpeg_quality",
        enters_at_stage=4,
        kind="min",
        expression="quality",
        needs=("jpeg",),
        says="compression quality: as the file states it, 1..100",
    ),
    Rule(
        name="watermark",
        enters_at_stage=4,
        kind="max",
        expression="watermark",
        needs=("watermark",),
        says="no watermark, probability",
    ),
    Rule(
        name="distribution",
        enters_at_stage=6,
        kind="balance",
        expression="image_id",
        subject="set",
        says="no domain and no concept holds more than so many times the mean of its kind",
    ),
)

RULES: Mapping[str, Rule] = {rule.name: rule for rule in _ALL}
