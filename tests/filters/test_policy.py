"""Policies: the design's table, what is refused and in which words, identity, differences."""

from __future__ import annotations

import pytest

from filters.policy import PROFILES, bundled, bundled_text, check_versions, diff, needed_scorers, parse, to_toml
from filters.rules import RULES
from filters.scorers import SCORERS
from flywheel.errors import PolicyError

FULL = bundled_text("full")


def test_the_full_policy_is_the_table_of_the_design() -> None:
    policy = bundled("full")
    assert policy.rules["short_side"].min == (256, 256, 512, 1024, 1024, 1024)
    assert policy.rules["aesthetic"].min == (3.5, 4.0, 4.5, 5.0, 5.5, 6.0)
    assert policy.rules["clip"].min == (0.18, 0.20, 0.22, 0.24, 0.26, 0.28)
    assert policy.trains_at == ((256,), (256,), (512,), (512, 1024), (512, 1024, 2048), (512, 1024, 2048))
    enters = {stage: {rule.name for rule in RULES.values() if rule.enters_at_stage == stage} for stage in range(1, 7)}
    assert {"duplicate", "nsfw", "rotation", "entropy", "token_length"} <= enters[1]
    assert enters[2] == {"pair_consistency"}
    assert enters[3] == set()
    assert enters[4] == {"sharpness", "noise", "blockiness", "jpeg_quality", "watermark"}
    assert enters[5] == set()
    assert enters[6] == {"distribution"}


def test_the_other_profiles_train_at_their_own_sizes() -> None:
    assert bundled("cpu").trains_at == bundled("full").trains_at
    assert bundled("miniature").trains_at == ((64,), (64,), (128,), (128,), (128, 256), (128, 256))
    assert bundled("miniature").rules["short_side"].min == (64, 64, 128, 128, 128, 128)


@pytest.mark.parametrize("profile", PROFILES)
def test_bundled_policies_apply_every_rule_at_the_scorers_present_versions(profile: str) -> None:
    policy = bundled(profile)
    assert policy.disabled == ()
    check_versions(policy, {name: scorer.version for name, scorer in SCORERS.items()})
    assert set(needed_scorers(policy)) <= {*SCORERS, "clip"}


@pytest.mark.parametrize("profile", PROFILES)
def test_written_and_read_again_it_is_the_same_policy(profile: str) -> None:
    assert parse(to_toml(bundled(profile))) == bundled(profile)
    assert parse(to_toml(bundled(profile))).policy_id == bundled(profile).policy_id


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("[rules.sharpness]", "[rules.sharpnes]", "unknown rule 'sharpnes'"),
        ('noise = "noise-1"', 'noize = "noise-1"', "unknown score 'noize'"),
        ("by_domain.poster", "by_domain.postcard", "unknown domain 'postcard'"),
        ('noise = "noise-1"', "", "calibrated_for names no version of noise"),
        ("min = [30, 50, 70]", "min = [30, 50]", r"jpeg_quality: min needs 3 values \(stages 4 to 6\), not 2"),
        ("min = [30, 50, 70]", "min = [50, 70, 60]", "jpeg_quality: min loosens from 70 to 60 at stage 6"),
        ("max = [9.0, 8.0, 7.0]", "max = [9.0, 12.0, 7.0]", "noise: max loosens from 9 to 12 at stage 5"),
        ("min = [3.0, 3.0, 3.25,", "min = [3.0, 2.0, 3.25,", "aesthetic for slide: min loosens from 3 to 2 at stage 2"),
        ("min = [30, 50, 70]", "max = [30, 50, 70]", "jpeg_quality needs min"),
        ("min = [30, 50, 70]", "min = [30, 50, nan]", "finite"),
        ("[rules.duplicate]", "[rules.duplicate]\nmax = [1, 1, 1, 1, 1, 1]", "duplicate takes no max"),
        ("max = [2.0]", "max = [0.5]", "at least 1"),
        ("[[256], [256]", "[[300], [256]", "stage 1 keeps a short side of 256 px"),
        ("[[256], [256]", "[[256]", "trains_at needs 6 lists"),
        ("[512, 1024]", "[1024, 512]", "rising order"),
        ('profile = "full"', 'profil = "full"', "profile"),
        ("disabled = []", "disabled = [", "not TOML"),
        ("[rules.duplicate]", "", "nothing is said about duplicate"),
    ],
)
def test_what_does_not_hold_together_is_refused_in_one_line(old: str, new: str, said: str) -> None:
    assert old in FULL
    with pytest.raises(PolicyError, match=said) as refusal:
        parse(FULL.replace(old, new, 1) if old != "[rules.sharpness]" else FULL.replace(old, new))
    assert "\n" not in str(refusal.value)


def test_a_stored_policy_may_be_older_than_a_rule() -> None:
    older = FULL.replace("[rules.duplicate]", "")
    assert parse(older, stored=True).policy_id == bundled("full").without("duplicate").policy_id


def test_a_disabled_rule_keeps_its_thresholds_but_does_not_count() -> None:
    quiet = parse(FULL.replace("disabled = []", 'disabled = ["nsfw"]'))
    assert "nsfw" not in {rule.name for rule in quiet.active()}
    assert quiet.policy_id != bundled("full").policy_id
    assert quiet.policy_id == bundled("full").without("nsfw").policy_id
    assert diff(bundled("full"), quiet) == ("nsfw no longer applies",)


def test_the_id_is_of_the_content_and_not_of_its_writing() -> None:
    assert parse("# a remark\n" + FULL).policy_id == bundled("full").policy_id
    assert parse(FULL.replace("[30, 50, 70]", "[50, 60, 71]")).policy_id != bundled("full").policy_id


def test_other_scorer_versions_are_refused_and_missing_ones_are_not() -> None:
    policy = bundled("full")
    check_versions(policy, {"tone": "tone-1"})
    with pytest.raises(PolicyError, match=r"tone tone-1 \(scores: tone-2\).*calibrate"):
        check_versions(policy, {"tone": "tone-2", "noise": "noise-1"})


def test_differences_are_said_in_words() -> None:
    other = parse(
        FULL.replace("[3.5, 4.0, 4.5, 5.0, 5.5, 6.0]", "[3.5, 4.0, 4.5, 5.0, 5.5, 6.5]")
        .replace("min = [3.0, 3.0, 3.25, 3.5, 3.75, 4.0]", "min = [2.0, 3.0, 3.25, 3.5, 3.75, 4.0]")
        .replace('"noise-1"', '"noise-2"')
    )
    assert diff(bundled("full"), bundled("full")) == ()
    assert diff(bundled("full"), other) == (
        "noise scores: noise-1 becomes noise-2",
        "aesthetic, stage 6: min 6 becomes 6.5 (stricter)",
        "aesthetic, slide, stage 1: min 3 becomes 2 (looser)",
    )


def test_unknown_profiles_are_refused() -> None:
    with pytest.raises(PolicyError, match="no bundled policy"):
        bundled("huge")
