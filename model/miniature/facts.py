"""A fictional fact base: what pictures of the world do not show but a captioner may be told.

Every realm has an emblem of its own, so that a picture leads to one realm, and facts that no pixel holds. They come from
a hash and not from a list, so that nothing of the real world is among them.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cache
from itertools import product

from flywheel.seeds import stable_hash
from model.miniature.subject import Subject, SubjectError
from model.miniature.vocabulary import COLOURS, SHAPES

NUMBER_OF_REALMS = 48
FIRST_YEAR, LAST_YEAR = 1100, 1899
BEGINNINGS = (
    "Vel",
    "Tar",
    "Mor",
    "Ash",
    "Kel",
    "Bry",
    "Os",
    "Fen",
    "Lor",
    "Gal",
    "Rin",
    "Sar",
    "Und",
    "Hol",
    "Ith",
    "Dor",
)
ENDINGS = ("mora", "wick", "dun", "avel", "stad", "ethia", "holm", "una", "gard", "ridge", "oria", "mere")
CRAFTS = ("glass", "silk", "clocks", "salt", "maps", "bells", "honey", "paper")


@dataclass(frozen=True, kw_only=True)
class Emblem(Subject):
    """A charge (a shape) on a disc with a rim. Raises SubjectError where two neighbouring colours are alike."""

    field: str
    rim: str
    charge: str
    ink: str

    def __post_init__(self) -> None:
        known = self.charge in SHAPES and all(colour in COLOURS for colour in (self.field, self.rim, self.ink))
        if not known or self.field in (self.rim, self.ink):
            raise SubjectError(f"no such emblem: {self}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Realm:
    """What is known of the realm behind an emblem."""

    name: str
    capital: str
    founded: int
    known_for: str
    emblem: Emblem

    def facts(self) -> dict[str, str | int]:
        """What is given to a captioner: all but the emblem, which it sees."""
        return {name: value for name, value in asdict(self).items() if name != "emblem"}


@cache
def realms() -> tuple[Realm, ...]:
    """The whole fact base, the same on every machine."""
    emblems = sorted(_emblems(), key=lambda emblem: stable_hash(["emblem", asdict(emblem)]))
    names = sorted(map("".join, product(BEGINNINGS, ENDINGS)), key=lambda name: stable_hash(["name", name]))
    return tuple(
        Realm(
            name=name,
            capital=names[NUMBER_OF_REALMS + at],
            founded=FIRST_YEAR + _by_lot("founded", name, LAST_YEAR - FIRST_YEAR + 1),
            known_for=CRAFTS[_by_lot("craft", name, len(CRAFTS))],
            emblem=emblems[at],
        )
        for at, name in enumerate(names[:NUMBER_OF_REALMS])
    )


def realm_of(emblem: Emblem) -> Realm | None:
    """The realm with that emblem; None for an emblem that nobody bears."""
    return _by_emblem().get(emblem)


@cache
def _by_emblem() -> dict[Emblem, Realm]:
    return {realm.emblem: realm for realm in realms()}


def _emblems() -> list[Emblem]:
    return [
        Emblem(field=field, rim=rim, charge=charge, ink=ink)
        for field, rim, charge, ink in product(COLOURS, COLOURS, SHAPES, COLOURS)
        if field not in (rim, ink)
    ]


def _by_lot(what: str, name: str, choices: int) -> int:
    return int(stable_hash([what, name]), 16) % choices
