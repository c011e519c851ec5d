"""What people and judges tell apart about a picture. Suites score them, signals name them, modes are made of them."""

from __future__ import annotations

from enum import StrEnum

BAR = 0.5  # a score below it is bad; our choice
SCORE = "score"  # stands beside the facets for the picture as a whole: a suite's own figure, a thumb


class Facet(StrEnum):
    """What can be right or wrong about a picture, each scored apart."""

    OBJECTS = "objects"
    ATTRIBUTES = "attributes"
    COUNTS = "counts"
    RELATIONS = "relations"
    WORDS = "words"
    ORDER = "layout and reading order"
    AESTHETICS = "aesthetics"
    ARTIFACTS = "artifacts"
    EDIT_DONE = "edit done"
    KEPT = "identity kept"
