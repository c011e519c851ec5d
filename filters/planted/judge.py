"""What an engine found against what was planted: precision and recall of each filter. Pure.

One rule holds throughout: an answer counts against a filter only where the truth is beyond dispute. An image that
carries another planted fault may be flagged or not (a blurred picture saved at quality 5 is a fair catch for
either filter), and two flat images have no picture by which to call them different.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import get_args

from filters.planted.truth import OK, Domain, Planted, roots_of

Pair = tuple[str, str]

# The targets that the project sets itself for planted truth.
DUPLICATE_TARGET = 0.98
QUALITY_TARGET = 0.95
# Of each kind of picture. Our choice: the planted layouts are neat, all of three sets were told right; of real
# pictures, fitted ones among them, 0.96, and of real documents 0.87.
DOMAIN_TARGET = 0.9
# Told all the same: two edits at once, and content turned without EXIF, for which there is only a sign.
NO_TARGET = 0.0
QUALITY_FAULTS = ("blur", "flat", "noise", "compression")
_ACCEPTED = frozenset({OK, "new", "known"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """What an engine said. Paths are those of the truth; an image_id is whatever names equal bytes.

    `outcome`: path -> "ok" (or "new", "known") or a reason. `image_id`: path -> id, for what was accepted.
    `size`: path -> (width_px, height_px), upright. `orientation`: path -> the EXIF orientation read.
    `representative`: image_id -> the id it was grouped under; ids left out stand for themselves.
    `flagged`: fault -> image_ids. `domain`: image_id -> the kind of picture it was taken for.
    """

    outcome: Mapping[str, str]
    image_id: Mapping[str, str]
    size: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    orientation: Mapping[str, int] = field(default_factory=dict)
    representative: Mapping[str, str] = field(default_factory=dict)
    flagged: Mapping[str, Collection[str]] = field(default_factory=dict)
    domain: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterScore:
    """One filter against the truth. `planted` and `found` count what `note` names; both rates are in 0..1.

    Precision is 1 where nothing was found, recall is 1 where nothing was planted.
    """

    name: str
    precision: float
    recall: float
    planted: int
    found: int
    target: float
    note: str

    @property
    def passed(self) -> bool:
        return min(self.precision, self.recall) >= self.target


def judge(planted: Sequence[Planted], observed: Observed) -> list[FilterScore]:
    """Every filter's score, in the order in which the funnel applies them."""
    return [
        _ingest(planted, observed),
        _exif(planted, observed),
        _exact(planted, observed),
        _near_pairs(_single_edits(planted), observed),
        _near_dropped(_single_edits(planted), observed),
        _combined(planted, observed),
        _lookalikes(planted, observed),
        *(_fault(name, planted, observed, QUALITY_TARGET) for name in QUALITY_FAULTS),
        *([_fault("rotated", planted, observed, NO_TARGET)] if "rotated" in observed.flagged else []),
        *(_domain(domain, planted, observed) for domain in get_args(Domain) if observed.domain),
    ]


def mistakes(planted: Sequence[Planted], observed: Observed, fault: str) -> tuple[list[str], list[str]]:
    """(paths flagged wrongly, paths missed) of one fault, for people who want to look at them."""
    flagged = _flagged_paths(planted, observed, fault)
    wrong = [item.path for item in planted if item.path in flagged and item.decodes and not item.faults]
    missed = [item.path for item in planted if fault in item.faults and item.path not in flagged]
    return wrong, missed


def merge_mistakes(planted: Sequence[Planted], observed: Observed) -> tuple[list[Pair], list[Pair]]:
    """(pairs of paths merged wrongly, pairs missed), each image by the first of its paths."""
    true, found = _grouped_pairs(planted, observed)
    path_of: dict[str, str] = {}
    for item in planted:
        if item.path in observed.image_id:
            path_of.setdefault(observed.image_id[item.path], item.path)
    wrong, missed = (sorted((path_of[a], path_of[b]) for a, b in pairs) for pairs in (found - true, true - found))
    return wrong, missed


def _score(
    name: str, planted: AbstractSet[object], found: AbstractSet[object], target: float, note: str
) -> FilterScore:
    right = len(planted & found)
    return FilterScore(
        name=name,
        precision=right / len(found) if found else 1.0,
        recall=right / len(planted) if planted else 1.0,
        planted=len(planted),
        found=len(found),
        target=target,
        note=note,
    )


def _ingest(planted: Sequence[Planted], observed: Observed) -> FilterScore:
    """Refusals with the right reason; a good file refused, or a bad one for a wrong reason, costs precision."""
    bad = {item.path for item in planted if not item.decodes}
    refused: set[tuple[str, bool]] = set()
    for item in planted:
        said = observed.outcome.get(item.path)
        if said is not None and said not in _ACCEPTED:
            refused.add((item.path, said == item.expected or said in item.also_right))
    lost = sum(1 for item in planted if item.path not in observed.outcome)
    note = "files refused, each for the right reason" + (f"; {lost} unaccounted for" if lost else "")
    score = _score("ingest reasons", {(path, True) for path in bad}, refused, 1.0, note)
    return score if not lost else _lowered(score, lost)


def _lowered(score: FilterScore, lost: int) -> FilterScore:
    """A file without any outcome is a breach of conservation: it counts as missed."""
    right = round(score.recall * score.planted)
    return replace(score, recall=right / (max(score.planted, right) + lost))


def _exif(planted: Sequence[Planted], observed: Observed) -> FilterScore:
    """Turned copies read upright: orientation and sides exact, and the picture found equal to its original's."""
    turned = {item.path for item in planted if item.exif_orientation != 1}
    claimed = {path for path, orientation in observed.orientation.items() if orientation != 1}
    exact = {
        item.path
        for item in planted
        if observed.orientation.get(item.path) == item.exif_orientation
        and observed.size.get(item.path) == (item.width_px, item.height_px)
        and _same_group(observed, item.path, item.near_duplicate_of)
    }
    wrong = {(path, path in exact) for path in claimed}
    return _score(
        "EXIF orientation",
        {(path, True) for path in turned},
        wrong,
        1.0,
        "turned copies upright and equal to their original",
    )


def _same_group(observed: Observed, path: str, other: str | None) -> bool:
    if other is None:
        return True
    ids = observed.image_id.get(path), observed.image_id.get(other)
    return None not in ids and len({observed.representative.get(str(one), one) for one in ids}) == 1


def _exact(planted: Sequence[Planted], observed: Observed) -> FilterScore:
    """Pairs of files with one identity."""
    families: defaultdict[str, list[str]] = defaultdict(list)
    for item in planted:
        if item.decodes:
            families[item.exact_duplicate_of or item.path].append(item.path)
    by_id: defaultdict[str, list[str]] = defaultdict(list)
    for path, image_id in observed.image_id.items():
        by_id[image_id].append(path)
    return _score(
        "exact duplicates", _pairs(families.values()), _pairs(by_id.values()), DUPLICATE_TARGET, "pairs of files"
    )


def _near_pairs(planted: Sequence[Planted], observed: Observed) -> FilterScore:
    true, found = _grouped_pairs(planted, observed)
    return _score("near duplicates, pairs", true, found, DUPLICATE_TARGET, "pairs of images in one group")


def _single_edits(planted: Sequence[Planted]) -> list[Planted]:
    return [item for item in planted if "+" not in (item.edit or "")]


def _combined(planted: Sequence[Planted], observed: Observed) -> FilterScore:
    """Two edits at once, a crop and an overlay say: the files that were grouped with their original."""
    edited = {item.path: item.near_duplicate_of for item in planted if "+" in (item.edit or "")}
    found = {path for path, original in edited.items() if _same_group(observed, path, original)}
    return _score("near duplicates, two edits", set(edited), found, NO_TARGET, "files grouped with their original")


def _grouped_pairs(planted: Sequence[Planted], observed: Observed) -> tuple[set[Pair], set[Pair]]:
    """(true, found) pairs of image_ids. Members match their representative, so groups are compared whole."""
    family, flat = _family_of_id(planted, observed), _flat_ids(planted, observed)
    true_groups: defaultdict[str, list[str]] = defaultdict(list)
    found_groups: defaultdict[str, list[str]] = defaultdict(list)
    for image_id, top in family.items():
        true_groups[top].append(image_id)
        found_groups[observed.representative.get(image_id, image_id)].append(image_id)
    found = {pair for pair in _pairs(found_groups.values()) if not set(pair) <= flat}
    return _pairs(true_groups.values()), found


def _near_dropped(planted: Sequence[Planted], observed: Observed) -> FilterScore:
    """Images dropped as duplicates: right where the one kept instead is kept itself and shows the same picture.

    Each family of n images has n - 1 to drop; which one is kept is the engine's choice, but one must be.
    """
    family, flat = _family_of_id(planted, observed), _flat_ids(planted, observed)
    due = len(family) - len(set(family.values()))
    kept_instead = {a: b for a, b in observed.representative.items() if a != b and a in family}
    dropped = {a for a, b in kept_instead.items() if not {a, b} <= flat}
    right = sum(
        1
        for image_id in dropped
        if (kept := kept_instead[image_id]) not in kept_instead and family.get(kept) == family[image_id]
    )
    return FilterScore(
        name="near duplicates, dropped",
        precision=right / len(dropped) if dropped else 1.0,
        recall=right / due if due else 1.0,
        planted=due,
        found=len(dropped),
        target=DUPLICATE_TARGET,
        note="images dropped as duplicates",
    )


def _lookalikes(planted: Sequence[Planted], observed: Observed) -> FilterScore:
    """Different posters or slides of one series that were merged all the same: none may be."""
    family = _family_of_id(planted, observed)
    in_series = {observed.image_id[i.path] for i in planted if i.series and i.path in observed.image_id}
    groups: defaultdict[str, list[str]] = defaultdict(list)
    for image_id in sorted(in_series):
        groups[observed.representative.get(image_id, image_id)].append(image_id)
    merged = {pair for pair in _pairs(groups.values()) if family[pair[0]] != family[pair[1]]}
    distinct = len({family[image_id] for image_id in in_series})
    lost = len({family[image_id] for pair in merged for image_id in pair})
    share = 1 - lost / distinct if distinct else 1.0
    return FilterScore(
        name="distinct posters merged",
        precision=share,
        recall=share,
        planted=distinct,
        found=len(merged),
        target=1.0,
        note="planted: distinct posters and slides; found: pairs of them wrongly merged",
    )


def _fault(name: str, planted: Sequence[Planted], observed: Observed, target: float) -> FilterScore:
    flagged = _flagged_paths(planted, observed, name)
    carriers = {item.path for item in planted if name in item.faults}
    excused = {item.path for item in planted if item.faults and name not in item.faults}
    note = "images flagged"
    if excused & flagged:
        note += f"; {len(excused & flagged)} more carry another planted fault and are not counted"
    return _score(name, carriers, flagged - excused, target, note)


def _domain(domain: Domain, planted: Sequence[Planted], observed: Observed) -> FilterScore:
    """Images taken for one kind of picture. Faults destroy what a kind is known by: their carriers do not count."""
    truth = {observed.image_id[i.path]: i.domain for i in planted if not i.faults and i.path in observed.image_id}
    of_kind = {image_id for image_id, true in truth.items() if true == domain}
    found = {image_id for image_id in truth if observed.domain.get(image_id) == domain}
    return _score(f"domain {domain}", of_kind, found, DOMAIN_TARGET, f"images taken for a {domain}")


def _flagged_paths(planted: Sequence[Planted], observed: Observed, fault: str) -> set[str]:
    flagged = set(observed.flagged.get(fault, ()))
    return {item.path for item in planted if observed.image_id.get(item.path) in flagged}


def _family_of_id(planted: Sequence[Planted], observed: Observed) -> dict[str, str]:
    """image_id -> the original that its picture descends from, for everything accepted."""
    roots = roots_of(planted)
    return {observed.image_id[path]: top for path, top in roots.items() if path in observed.image_id}


def _flat_ids(planted: Sequence[Planted], observed: Observed) -> set[str]:
    return {observed.image_id[i.path] for i in planted if "flat" in i.faults and i.path in observed.image_id}


def _pairs(groups: Iterable[Collection[str]]) -> set[Pair]:
    return {pair for group in groups for pair in combinations(sorted(group), 2)}
