"""Verdicts in SQL against a slow second implementation, and the laws that every policy must keep."""

from __future__ import annotations

from collections import Counter, defaultdict
from random import Random
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from filters.funnel import assemble, compare, counts_sql, flips_sql
from filters.policy import PROFILES, Policy, bundled, parse, to_toml
from filters.rules import DOMAINS, RULES, STAGES, Rule
from filters.verdicts import survivors_sql, verdicts_sql, violations_sql
from flywheel.buckets import frame, framed_sql, resolution_px
from flywheel.errors import ConservationError

# column -> (scorer that writes it, values that lie on both sides of likely thresholds)
NUMBERS: dict[str, tuple[str | None, tuple[float, float]]] = {
    "nsfw": ("nsfw", (0, 0.4)),
    "sideways": ("orientation", (0, 1)),
    "entropy_bits": ("tone", (1, 8)),
    "flat_share": ("tone", (0.5, 1)),
    "luma_mean": ("tone", (0, 1)),
    "caption_tokens": (None, (0, 1200)),
    "clip": (None, (0.1, 0.4)),
    "aesthetic": ("aesthetic", (2, 8)),
    "sharpness": ("sharpness", (0.2, 0.6)),
    "sigma": ("noise", (0, 12)),
    "blockiness": ("blockiness", (0, 1)),
    "quality": ("jpeg", (30, 100)),
    "watermark": ("watermark", (0, 0.5)),
}
SCORERS = sorted({scorer for scorer, _ in NUMBERS.values() if scorer} | {"phash"})
TEXTS = ("image_id", "domain", "concept", "representative_id", *(f"{scorer}_version" for scorer in SCORERS))
SCHEMA = pa.schema(
    [(name, pa.string()) for name in TEXTS]
    + [("width_px", pa.int32()), ("height_px", pa.int32()), ("bytes", pa.int64())]
    + [(name, pa.float64()) for name in NUMBERS]
)


def random_image(chance: Random, image_id: str) -> dict[str, Any]:
    """One row of `scores`: mostly good, any number may be unmeasured or an abstention."""
    row: dict[str, Any] = {"image_id": image_id, "domain": chance.choice(("unknown", *DOMAINS))}
    row["concept"] = chance.choice((None, "cat", "dog"))
    row["representative_id"] = chance.choice((None, None, None, "one", "another"))
    row["bytes"] = chance.randint(1, 3)
    row["width_px"], row["height_px"] = chance.randint(200, 2600), chance.randint(200, 2600)
    for scorer in SCORERS:
        row[f"{scorer}_version"] = "1" if chance.random() < 0.95 else None
    for name, (scorer, (low, high)) in NUMBERS.items():
        measured = chance.random() < 0.95 and (scorer is None or row[f"{scorer}_version"])
        # numbers of few digits meet thresholds of few digits exactly
        row[name] = round(chance.uniform(low, high), 2) if measured else None
    return row


def random_images(seed: int) -> list[dict[str, Any]]:
    chance = Random(seed)
    return [random_image(chance, f"{i:03}") for i in range(chance.choice((0, 1, 100)))]


tables = st.integers(0, 1 << 32).map(random_images)


def thresholds(draw: st.DrawFn, rule: Rule, low: float, high: float) -> dict[str, list[float]]:
    middle = (low + high) / 2
    least = st.lists(
        st.floats(low, middle).map(lambda x: round(x, 2)), min_size=len(rule.stages), max_size=len(rule.stages)
    )
    most = st.lists(
        st.floats(middle, high).map(lambda x: round(x, 2)), min_size=len(rule.stages), max_size=len(rule.stages)
    )
    lists = {"min": sorted(draw(least)), "max": sorted(draw(most), reverse=True)}
    return {bound: lists[bound] for bound in rule.bounds}


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    """A random valid policy: thresholds, overrides by domain, disabled rules."""
    content = bundled("full").model_dump(mode="json", exclude_none=True)
    for rule in RULES.values():
        if rule.subject != "image" or rule.expression not in NUMBERS:
            continue
        span = NUMBERS[rule.expression][1]
        special = draw(st.lists(st.sampled_from(DOMAINS), max_size=2, unique=True))
        own = {domain: thresholds(draw, rule, *span) for domain in special}
        content["rules"][rule.name] = {**thresholds(draw, rule, *span), "by_domain": own}
    content["rules"]["distribution"] = {"max": [draw(st.sampled_from((1.0, 1.4, 2.0)))]}
    content["rules"]["aspect"] = {"max": [0.3, 0.3, 0.2, 0.2, 0.1, 0.1]}
    content["disabled"] = draw(st.lists(st.sampled_from(sorted(RULES)), max_size=6, unique=True))
    return Policy.model_validate(content)


def ask(sql: str, rows: list[dict[str, Any]], **more: list[dict[str, Any]]) -> list[dict[str, Any]]:
    with duckdb.connect(config={"threads": 1}) as connection:
        connection.register("unframed", pa.Table.from_pylist(rows, schema=SCHEMA))
        connection.execute(f"CREATE VIEW scores AS {framed_sql('unframed')}")
        for name, table in more.items():
            connection.register(name, pa.Table.from_pylist(table))
        found: list[dict[str, Any]] = connection.sql(sql).to_arrow_table().to_pylist()
        return found


def number_of(rule: Rule, row: dict[str, Any]) -> float | None:
    if rule.name == "short_side":
        return float(min(row["width_px"], row["height_px"]))
    if rule.name == "aspect":
        return frame(row["width_px"], row["height_px"]).crop_loss
    value: float | None = row[rule.expression]
    return value


def is_measured(rule: Rule, row: dict[str, Any]) -> bool:
    if rule.name in ("clip", "token_length"):
        return row[rule.expression] is not None
    return all(row[f"{scorer}_version"] is not None for scorer in rule.needs)


def violated(policy: Policy, rule: Rule, row: dict[str, Any], stage: int) -> tuple[float, float | None] | None:
    """(value, threshold) of a definite violation."""
    value = number_of(rule, row)
    if value is None:
        return None
    low, high = (policy.at(rule, bound, stage, row["domain"]) for bound in ("min", "max"))
    if low is not None and value < low:
        return value, low
    return (value, high) if high is not None and value > high else None


def judge_slowly(policy: Policy, rows: list[dict[str, Any]]) -> dict[tuple[str, int], tuple[Any, ...]]:
    """(image_id, stage) -> (verdict, rule, value, threshold, unjudged rules): the definition, read aloud."""
    verdicts: dict[tuple[str, int], tuple[Any, ...]] = {}
    replaced = replaced_slowly(policy, rows)
    for row in rows:
        for stage in STAGES:
            rules = [rule for rule in policy.active() if rule.enters_at_stage <= stage]
            missing = [rule.name for rule in rules if not is_measured(rule, row)]
            blamed = [
                (rule.name, found)
                for rule in rules
                if (
                    found := ((1.0, None) if row["image_id"] in replaced else None)
                    if rule.kind == "standing"
                    else violated(policy, rule, row, stage)
                )
            ]
            if blamed:
                verdict: tuple[Any, ...] = ("dropped", blamed[0][0], *blamed[0][1], missing)
            elif missing:
                verdict = ("unjudged", missing[0], None, None, missing)
            else:
                verdict = ("kept", None, None, None, [])
            verdicts[row["image_id"], stage] = verdict
    return verdicts | balance_slowly(policy, rows, verdicts)


def replaced_slowly(policy: Policy, rows: list[dict[str, Any]]) -> set[str]:
    """Of each group all but the one that the other rules let furthest; then most pixels, bytes, the smallest id."""
    groups = defaultdict(list)
    for row in rows:
        if row["representative_id"] is not None:
            groups[row["representative_id"]].append(row)

    def order(row: dict[str, Any]) -> tuple[Any, ...]:
        others = [rule for rule in policy.active() if rule.kind != "standing"]
        fallen = [
            stage
            for stage in STAGES
            if any(rule.enters_at_stage <= stage and violated(policy, rule, row, stage) for rule in others)
        ]
        return len(fallen), -row["width_px"] * row["height_px"], -row["bytes"], row["image_id"]

    return {row["image_id"] for members in groups.values() for row in sorted(members, key=order)[1:]}


def balance_slowly(
    policy: Policy, rows: list[dict[str, Any]], verdicts: dict[tuple[str, int], tuple[Any, ...]]
) -> dict[tuple[str, int], tuple[Any, ...]]:
    if not policy.active("set"):
        return {}
    times = policy.at(RULES["distribution"], "max", 6)
    assert times is not None
    entrants = [row for row in rows if verdicts[row["image_id"], 6][0] == "kept"]
    changed: dict[tuple[str, int], tuple[Any, ...]] = {}
    for key in ("domain", "concept"):
        groups = defaultdict(list)
        for row in entrants:
            if row[key] is not None and (row["image_id"], 6) not in changed:
                groups[row[key]].append(row["image_id"])
        cap = cap_slowly(times, [len(members) for members in groups.values()])
        for members in groups.values():
            for rank, image_id in enumerate(sorted(members), 1):
                if rank > cap:
                    changed[image_id, 6] = ("dropped", "distribution", float(rank), float(cap), [])
    return changed


def cap_slowly(times: float, sizes: list[int]) -> int:
    """The largest number of images a kind may keep such that none has more than `times` the mean after the cut."""
    for cap in range(max(sizes, default=0), 0, -1):
        if cap <= times * sum(min(size, cap) for size in sizes) / len(sizes) + 1e-9:
            return cap
    return 0


relaxed = settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))


@relaxed
@given(policies(), tables)
def test_sql_agrees_with_the_definition(policy: Policy, rows: list[dict[str, Any]]) -> None:
    found = ask(verdicts_sql(policy), rows)
    answers = {
        (row["image_id"], row["stage"]): (
            *(row["verdict"], row["rule"], row["value"], row["threshold"]),
            row["unjudged_rules"],
        )
        for row in found
    }
    assert len(found) == len(answers) == 6 * len(rows)
    expected = judge_slowly(policy, rows)
    for key, answer in answers.items():
        wanted = expected[key]
        assert answer[:2] == wanted[:2], key
        assert answer[2:4] == pytest.approx(wanted[2:4]), key
        assert answer[4] == wanted[4], key


@relaxed
@given(policies(), tables)
def test_every_image_is_accounted_for_and_kept_sets_are_nested(policy: Policy, rows: list[dict[str, Any]]) -> None:
    funnel = assemble(policy, ask(counts_sql([policy]), rows), len(rows))
    verdicts = ask(verdicts_sql(policy), rows)
    before = {row["image_id"] for row in rows}
    for stage in STAGES:
        here = [row for row in verdicts if row["stage"] == stage]
        count = funnel.stage(stage)
        counted = Counter((row["verdict"], row["rule"]) for row in here)
        assert count.total.kept == counted["kept", None]
        assert count.total.dropped == {r: n for r in RULES if (n := counted["dropped", r])}
        assert count.total.unjudged == {r: n for r in RULES if (n := counted["unjudged", r])}
        assert sum(tally.images for tally in count.by_domain.values()) == len(rows)
        assert sum(tally.images for tally in count.by_bucket.values()) == len(rows)
        kept = {row["image_id"] for row in here if row["verdict"] == "kept"}
        assert kept <= before
        before = kept


@relaxed
@given(policies(), policies(), tables)
def test_what_if_equals_recomputation(old: Policy, new: Policy, rows: list[dict[str, Any]]) -> None:
    first, second = ({(r["image_id"], r["stage"]): r for r in ask(verdicts_sql(p), rows)} for p in (old, new))
    flips = ask(flips_sql(old, new), rows)
    expected = {
        key: (first[key]["verdict"], first[key]["rule"], second[key]["verdict"], second[key]["rule"])
        for key in first
        if (first[key]["verdict"], first[key]["rule"]) != (second[key]["verdict"], second[key]["rule"])
    }
    named = ("old_verdict", "old_rule", "new_verdict", "new_rule")
    assert {(f["image_id"], f["stage"]): tuple(f[name] for name in named) for f in flips} == expected
    counted = ask(counts_sql([old, new]), rows)
    assert [row["images"] for row in counted if row["side"] is None] == [len({flip["image_id"] for flip in flips})]
    funnels = [assemble(policy, counted, len(rows), side) for side, policy in enumerate((old, new))]
    assert funnels == [assemble(policy, ask(counts_sql([policy]), rows), len(rows)) for policy in (old, new)]
    for change in compare(*funnels):
        moved = [flip for flip in flips if flip["stage"] == change.stage]
        gained = sum(flip["new_verdict"] == "kept" for flip in moved)
        assert change.kept == gained - sum(flip["old_verdict"] == "kept" for flip in moved)


@pytest.mark.parametrize("profile", PROFILES)
def test_resolution_and_bucket_come_with_the_verdict(profile: str) -> None:
    policy = bundled(profile)
    sizes = [(1, 1), (64, 64), (256, 256), (300, 256), (1024, 1536), (2048, 2048), (4000, 2250), (500, 5000)]
    rows = [
        {**dict.fromkeys(SCHEMA.names), "image_id": str(i), "domain": "photo", "width_px": w, "height_px": h}
        for i, (w, h) in enumerate(sizes)
    ]
    for row in ask(verdicts_sql(policy), rows):
        width, height = sizes[int(row["image_id"])]
        assert row["bucket"] == frame(width, height).bucket
        assert row["crop_loss"] == frame(width, height).crop_loss
        assert row["resolution_px"] == resolution_px(width, height, policy.trains_at[row["stage"] - 1])


def good(image_id: str, **changes: Any) -> dict[str, Any]:
    """A row that every rule of the full policy keeps."""
    best = {"nsfw": 0.0, "sideways": 0.0, "entropy_bits": 7.0, "flat_share": 0.1, "luma_mean": 0.5, "clip": 0.4}
    best |= {"caption_tokens": 60.0, "aesthetic": 7.0, "sharpness": 0.6, "sigma": 1.0, "blockiness": 0.0}
    best |= {"quality": 95.0, "watermark": 0.0}
    versions = {f"{scorer}_version": "1" for scorer in SCORERS}
    own = {"image_id": image_id, "domain": "photo", "concept": None, "representative_id": None, "bytes": 9}
    return {**own, "width_px": 2048, "height_px": 2048, **versions, **best, **changes}


def stage_verdicts(policy: Policy, row: dict[str, Any]) -> list[str]:
    found = sorted(ask(verdicts_sql(policy), [row]), key=lambda verdict: verdict["stage"])
    return [f"{v['verdict']} {v['rule']}" if v["rule"] else v["verdict"] for v in found]


def test_an_abstention_passes_and_a_missing_score_does_not() -> None:
    policy = bundled("full")
    assert stage_verdicts(policy, good("a", quality=None)) == ["kept"] * 6
    unmeasured = good("a", quality=None, jpeg_version=None)
    assert stage_verdicts(policy, unmeasured) == ["kept"] * 3 + ["unjudged jpeg_quality"] * 3


def test_a_definite_violation_outweighs_a_missing_score() -> None:
    row = good("a", nsfw=None, nsfw_version=None, aesthetic=4.2)
    assert stage_verdicts(bundled("full"), row) == ["unjudged nsfw"] * 2 + ["dropped aesthetic"] * 4


def test_domains_have_thresholds_of_their_own() -> None:
    policy = bundled("full")
    assert stage_verdicts(policy, good("a", aesthetic=4.0, domain="document")) == ["kept"] * 6
    assert stage_verdicts(policy, good("a", aesthetic=4.0)) == ["kept"] * 2 + ["dropped aesthetic"] * 4


def test_balance_cuts_the_crowded_domain_alone() -> None:
    rows = [good(f"p{i}") for i in range(9)] + [good(f"s{i}", domain="slide") for i in range(3)]
    policy = parse(
        to_toml(bundled("full")).replace("[rules.distribution]\nmax = [2.0]", "[rules.distribution]\nmax = [1.2]")
    )
    cut = [row for row in ask(verdicts_sql(policy), rows) if row["rule"] == "distribution"]
    assert {(row["image_id"], row["value"], row["threshold"], row["stage"]) for row in cut} == {
        (f"p{i}", i + 1.0, 4.0, 6) for i in range(4, 9)
    }  # 4 <= 1.2 x (4 + 3) / 2 < 5


def test_the_best_of_a_group_stays_not_the_largest() -> None:
    policy = bundled("full")
    large = good("large", representative_id="large", width_px=4096, height_px=4096, quality=20.0)
    fine, small = (good(name, representative_id="large", width_px=side) for name, side in (("fine", 2048), ("s", 2040)))
    rows = [large, fine, small]
    kept = [row for row in ask(verdicts_sql(policy), rows) if row["verdict"] == "kept"]
    assert {(row["image_id"], row["stage"]) for row in kept} == {("fine", stage) for stage in STAGES}
    loose = policy.without("jpeg_quality")
    kept = [row for row in ask(verdicts_sql(loose), rows) if row["verdict"] == "kept"]
    assert {(row["image_id"], row["stage"]) for row in kept} == {("large", stage) for stage in STAGES}


def test_survivors_may_lack_the_rules_that_are_allowed() -> None:
    rows = [good("full"), good("no_clip", clip=None), good("neither", clip=None, nsfw=None, nsfw_version=None)]

    def survivors(stage: int | str, *allowed: str) -> set[str]:
        verdicts = f"WITH verdicts AS ({verdicts_sql(bundled('full'), allow_unjudged=allowed)}) "
        return {row["image_id"] for row in ask(verdicts + survivors_sql(stage), rows)}

    assert survivors(4) == {"full"}
    assert survivors(4, "clip") == {"full", "no_clip"}
    assert survivors(4, "clip", "nsfw") == {"full", "no_clip", "neither"}


def test_what_is_allowed_to_lack_a_score_is_balanced_too() -> None:
    rows = [good(f"p{i}", clip=None) for i in range(9)] + [good(f"s{i}", domain="slide", clip=None) for i in range(3)]
    policy = parse(
        to_toml(bundled("full")).replace("[rules.distribution]\nmax = [2.0]", "[rules.distribution]\nmax = [1.2]")
    )
    found = [row for row in ask(verdicts_sql(policy, allow_unjudged=["clip"]), rows) if row["stage"] == 6]
    assert Counter(row["rule"] for row in found) == {None: 7, "distribution": 5}
    assert all(row["unjudged_rules"] == ["clip"] for row in found)


def test_a_funnel_that_does_not_add_up_is_refused() -> None:
    policy = bundled("full")
    cells = ask(counts_sql([policy]), [good("a"), good("b")])
    with pytest.raises(ConservationError, match="stage 1: 3 images, but 2 kept"):
        assemble(policy, cells, 3)


def test_every_violated_rule_is_found_not_the_first_alone() -> None:
    rows = [good("fine"), good("bad", sigma=11.0, aesthetic=4.2, nsfw=None, nsfw_version=None)]
    asked = {stage: ask(violations_sql(bundled("full"), stage), rows) for stage in (2, 3, 4)}
    found = {stage: {(row["image_id"], row["rule"]) for row in answer} for stage, answer in asked.items()}
    assert found == {2: set(), 3: {("bad", "aesthetic")}, 4: {("bad", "aesthetic"), ("bad", "noise")}}
