from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filters.planted.judge import FilterScore, Observed, judge, merge_mistakes, mistakes
from filters.planted.truth import FAULTS, Planted, load_truth, roots_of, write_truth
from flywheel.records import Reason


def item(path: str, **what: object) -> Planted:
    defaults = {"family": "photo", "domain": "photo", "width_px": 640, "height_px": 480}
    return Planted(path=path, **{**defaults, **what})  # type: ignore[arg-type]


TRUTH = [
    item("a"),
    item("a_copy", exact_duplicate_of="a"),
    item("a_small", near_duplicate_of="a", edit="resize"),
    item("a_turned", near_duplicate_of="a", edit="exif", exif_orientation=6),
    item("b"),
    item("poster_1", series="s", domain="poster"),
    item("poster_2", series="s", domain="poster"),
    item("poster_1_crop", series="s", domain="poster", near_duplicate_of="poster_1", edit="crop"),
    item("blurred", faults=frozenset({"blur"})),
    item("noisy", faults=frozenset({"noise"})),
    item("flat_1", faults=frozenset({"flat"})),
    item("flat_2", faults=frozenset({"flat"})),
    item("blocky", faults=frozenset({"compression"})),
    item("cut", expected=Reason.TRUNCATED.value),
    item("huge", expected=Reason.TOO_MANY_PIXELS.value, also_right=frozenset({Reason.SIDE_TOO_LONG.value})),
]


def perfect() -> Observed:
    good = [i for i in TRUTH if i.decodes]
    roots = roots_of(TRUTH)
    identity = {i.path: i.exact_duplicate_of or i.path for i in good}
    return Observed(
        outcome={i.path: i.expected for i in TRUTH},
        image_id=identity,
        size={i.path: (640, 480) for i in good},
        orientation={i.path: i.exif_orientation for i in good},
        representative={identity[i.path]: roots[i.path] for i in good},
        flagged={fault: {i.path for i in good if fault in i.faults} for fault in FAULTS},
        domain={identity[i.path]: str(i.domain) for i in good},
    )


def scores(observed: Observed) -> dict[str, FilterScore]:
    return {score.name: score for score in judge(TRUTH, observed)}


def test_perfect_engine_passes_everything() -> None:
    for score in scores(perfect()).values():
        assert (score.precision, score.recall) == (1.0, 1.0)
        assert score.passed


def test_an_engine_that_says_nothing_recalls_nothing() -> None:
    silent = scores(Observed(outcome={}, image_id={}))
    assert not silent["ingest reasons"].passed
    assert silent["blur"].recall == 0.0
    assert silent["exact duplicates"].recall == 0.0


def test_one_wrong_merge_lowers_precision_and_is_counted_among_posters() -> None:
    seen = perfect()
    merged = scores(replace(seen, representative={**seen.representative, "poster_2": "poster_1"}))
    assert merged["distinct posters merged"].found == 2  # poster_2 with poster_1 and with its crop
    assert not merged["distinct posters merged"].passed
    assert merged["near duplicates, pairs"].precision == pytest.approx(4 / 6)
    assert merged["near duplicates, pairs"].recall == 1.0
    assert merged["near duplicates, dropped"].precision == pytest.approx(3 / 4)
    wrong, missed = merge_mistakes(TRUTH, replace(seen, representative={**seen.representative, "poster_2": "poster_1"}))
    assert {frozenset(pair) for pair in wrong} == {
        frozenset({"poster_1", "poster_2"}),
        frozenset({"poster_1_crop", "poster_2"}),
    }
    assert missed == []


def test_one_missed_duplicate_lowers_recall_alone() -> None:
    seen = perfect()
    missed = scores(replace(seen, representative={**seen.representative, "a_small": "a_small"}))
    assert missed["near duplicates, pairs"].precision == 1.0
    assert missed["near duplicates, pairs"].recall == pytest.approx(2 / 4)
    assert missed["near duplicates, dropped"].recall == pytest.approx(2 / 3)
    assert missed["distinct posters merged"].passed


def test_which_member_stands_for_the_group_does_not_matter() -> None:
    seen = perfect()
    other = {"a": "a_small", "a_small": "a_small", "a_turned": "a_small"}
    assert scores(replace(seen, representative={**seen.representative, **other})) == scores(seen)


def test_two_flat_images_may_be_merged_but_not_with_a_picture() -> None:
    seen = perfect()
    fine = scores(replace(seen, representative={**seen.representative, "flat_2": "flat_1"}))
    assert fine["near duplicates, pairs"].precision == 1.0
    assert fine["near duplicates, dropped"].precision == 1.0
    bad = scores(replace(seen, representative={**seen.representative, "flat_2": "b"}))
    assert bad["near duplicates, pairs"].precision < 1.0
    assert bad["near duplicates, dropped"].precision < 1.0


def test_wrong_identity_is_a_wrong_exact_duplicate() -> None:
    seen = perfect()
    score = scores(replace(seen, image_id={**seen.image_id, "b": "a"}))["exact duplicates"]
    assert score.precision == pytest.approx(1 / 3)
    assert score.recall == 1.0


def test_flag_on_a_clean_image_costs_precision_flag_on_another_fault_does_not() -> None:
    seen = perfect()
    clean = scores(replace(seen, flagged={**seen.flagged, "blur": {"blurred", "b"}}))["blur"]
    assert (clean.precision, clean.recall) == (0.5, 1.0)
    other = scores(replace(seen, flagged={**seen.flagged, "blur": {"blurred", "flat_1"}}))["blur"]
    assert other.precision == 1.0
    assert "1 more" in other.note
    assert mistakes(TRUTH, replace(seen, flagged={"blur": {"b"}}), "blur") == (["b"], ["blurred"])


def test_either_reason_is_right_where_both_budgets_break() -> None:
    seen = perfect()
    either = scores(replace(seen, outcome={**seen.outcome, "huge": Reason.SIDE_TOO_LONG.value}))
    assert either["ingest reasons"].passed
    wrong = scores(replace(seen, outcome={**seen.outcome, "cut": Reason.BROKEN.value}))["ingest reasons"]
    assert (wrong.precision, wrong.recall) == (0.5, 0.5)
    refused = scores(replace(seen, outcome={**seen.outcome, "b": Reason.BROKEN.value}))["ingest reasons"]
    assert refused.precision == pytest.approx(2 / 3)
    assert refused.recall == 1.0


def test_a_file_without_an_outcome_is_missed() -> None:
    seen = perfect()
    without = {path: said for path, said in seen.outcome.items() if path != "b"}
    score = scores(replace(seen, outcome=without))["ingest reasons"]
    assert score.recall < 1.0
    assert "1 unaccounted" in score.note


def test_a_domain_mistaken_for_another_costs_one_recall_and_the_other_precision() -> None:
    seen = perfect()
    mistaken = scores(replace(seen, domain={**seen.domain, "poster_1": "photo", "poster_2": "unknown"}))
    assert mistaken["domain poster"].recall == pytest.approx(1 / 3)
    assert mistaken["domain poster"].precision == 1.0
    assert mistaken["domain photo"].recall == 1.0
    assert mistaken["domain photo"].precision == pytest.approx(4 / 5)  # a and its two edits, b; not its equal copy
    assert not mistaken["domain photo"].passed
    assert (mistaken["domain slide"].planted, mistaken["domain slide"].found) == (0, 0)


def test_a_fault_excuses_from_being_told_for_what_it_is() -> None:
    seen = perfect()
    flat = {**seen.domain, "flat_1": "design", "blurred": "slide"}
    assert scores(replace(seen, domain=flat))["domain photo"] == scores(seen)["domain photo"]
    assert scores(replace(seen, domain=flat))["domain slide"].found == 0
    assert "domain photo" not in scores(replace(seen, domain={}))


@pytest.mark.parametrize(
    "change",
    [
        {"size": {"a_turned": (480, 640)}},
        {"orientation": {"a_turned": 8}},
        {"representative": {"a_turned": "a_turned"}},
    ],
)
def test_a_turned_copy_must_be_exact_in_everything(change: dict[str, dict[str, object]]) -> None:
    seen = perfect()
    merged = {name: {**getattr(seen, name), **entries} for name, entries in change.items()}
    score = scores(replace(seen, **merged))["EXIF orientation"]
    assert score.recall == 0.0
    assert not score.passed


GOOD = [i.path for i in TRUTH if i.decodes]


@given(
    groups=st.fixed_dictionaries({path: st.sampled_from(GOOD) for path in GOOD}),
    flagged=st.fixed_dictionaries({fault: st.sets(st.sampled_from(GOOD)) for fault in FAULTS}),
    outcome=st.dictionaries(st.sampled_from([i.path for i in TRUTH]), st.sampled_from(["ok", *map(str, Reason)])),
)
def test_rates_stay_rates(groups: dict[str, str], flagged: dict[str, set[str]], outcome: dict[str, str]) -> None:
    seen = Observed(outcome=outcome, image_id={p: p for p in GOOD}, representative=groups, flagged=flagged)
    for score in judge(TRUTH, seen):
        assert 0.0 <= score.precision <= 1.0
        assert 0.0 <= score.recall <= 1.0
        assert score.found >= 0


@given(
    path=st.text(min_size=1),
    faults=st.frozensets(st.sampled_from(FAULTS)),
    expected=st.sampled_from(["ok", *map(str, Reason)]),
    series=st.none() | st.text(),
)
def test_truth_survives_its_file(
    tmp_path_factory: pytest.TempPathFactory, path: str, faults: frozenset[str], expected: str, series: str | None
) -> None:
    root = tmp_path_factory.mktemp("truth")
    planted = [item(path, faults=faults, expected=expected, series=series)]
    assert write_truth(root, planted).parent == root
    assert load_truth(root) == planted


def test_truth_refuses_words_it_does_not_know(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unknown outcome"):
        item("x", expected="gone")
    with pytest.raises(ValueError, match="unknown fault"):
        item("x", faults=frozenset({"ugly"}))
    with pytest.raises(FileNotFoundError):
        load_truth(tmp_path)
