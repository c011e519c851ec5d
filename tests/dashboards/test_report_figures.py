"""The report's geometry: areas are proportionate, nothing leaves its frame."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboards.figures import BAND, GAP, TOP, funnel_figure
from dashboards.plots import LABEL_RISE, PLOT_BOTTOM, PLOT_TOP, PLOT_WIDTH, figure, left_of, plot, spoken
from dashboards.report_scores import Distribution, Limits, limits_of
from filters.funnel import Funnel, StageCount, Tally
from filters.policy import bundled
from filters.rules import RULES, STAGES

POLICY = bundled("cpu")


@st.composite
def funnels(draw: st.DrawFn) -> Funnel:
    """Stages that only tighten: what one drops stays dropped, what one cannot judge is never kept later."""
    kept, unjudged, dropped = draw(st.integers(1, 10**7)), 0, dict.fromkeys(list(RULES)[:4], 0)
    images, stages = kept, []
    for stage in STAGES:
        lost, waiting = draw(st.integers(0, kept)), 0
        waiting = draw(st.integers(0, kept - lost))
        late = draw(st.integers(0, unjudged))
        rule = draw(st.sampled_from(sorted(dropped)))
        kept, unjudged = kept - lost - waiting, unjudged + waiting - late
        dropped[rule] += lost + late
        total = Tally(
            kept=kept,
            dropped={name: dropped[name] for name in RULES if dropped.get(name)},
            unjudged={"nsfw": unjudged} if unjudged else {},
        )
        stages.append(StageCount(stage=stage, images=images, total=total, by_domain={}, by_bucket={}))
    return Funnel(policy_id="p", policy_name="n", images=images, stages=tuple(stages))


@given(funnels())
def test_every_bar_is_all_images(funnel: Funnel) -> None:
    drawn = funnel_figure(funnel, POLICY.trains_at)
    assert len(drawn.columns) == 1 + len(STAGES)
    for column in drawn.columns:
        assert sum(box.images for box in column.boxes) == funnel.images
        assert sum(box.height for box in column.boxes) == pytest.approx(BAND)
        for box, after in zip(column.boxes, column.boxes[1:], strict=False):
            assert box.y + box.height <= after.y + 1e-6
        assert all(box.y >= TOP and box.y + box.height <= TOP + BAND + GAP + 1e-6 for box in column.boxes)


@given(funnels())
def test_labels_do_not_overlap_and_stay_in_the_drawing(funnel: Funnel) -> None:
    drawn = funnel_figure(funnel, POLICY.trains_at)
    for column in drawn.columns:
        places = sorted(label.y for label in column.labels)
        assert all(after - before >= 6 for before, after in pairwise(places))
        assert all(0 < y < drawn.height for y in places)


def test_no_images_no_ribbons() -> None:
    empty = tuple(StageCount(stage=s, images=0, total=Tally(), by_domain={}, by_bucket={}) for s in STAGES)
    drawn = funnel_figure(Funnel(policy_id="p", policy_name="n", images=0, stages=empty), POLICY.trains_at)
    assert not drawn.ribbons
    assert not any(column.boxes for column in drawn.columns)


@given(
    st.floats(-1e6, 1e6),
    st.floats(1e-3, 1e6),
    st.lists(st.integers(0, 10**6), min_size=1, max_size=60),
    st.sampled_from([name for name, rule in RULES.items() if rule.bounds and rule.subject == "image"]),
)
def test_a_plot_stays_in_its_frame(low: float, span: float, counts: list[int], rule: str) -> None:
    told = Distribution(
        column="c",
        scorer=None,
        rule=rule,
        says="",
        limits=limits_of(POLICY, RULES[rule]),
        low=low,
        high=low + span,
        counts=tuple(counts),
        measured=sum(counts),
        abstained=0,
        missing=0,
        median=None,
    )
    drawn = plot(told)
    assert [bar.images for bar in drawn.bars] == [count for count in counts if count]
    assert all(bar.y >= PLOT_TOP - 1e-6 and bar.y + bar.height == pytest.approx(PLOT_BOTTOM) for bar in drawn.bars)
    assert all(left_of(told) <= line.x <= PLOT_WIDTH for line in drawn.lines)
    assert all(0 <= label.x <= PLOT_WIDTH and label.y > 0 for label in drawn.labels)
    assert len(drawn.lines) == len(told.limits[0].thresholds)
    assert all(left_of(told) - 1e-6 <= x <= PLOT_WIDTH for x, _ in drawn.ticks)
    assert all(0 <= drawn.top <= label.y - LABEL_RISE for label in drawn.labels)
    assert drawn.top < PLOT_TOP < drawn.height


def test_thresholds_say_what_they_allow_in_the_order_of_their_stages() -> None:
    def labels(rule: str, low: float, high: float) -> list[str]:
        limits = limits_of(POLICY, RULES[rule])
        return [label.text for label in plot(_distribution(rule, limits, low, high)).labels]

    assert labels("jpeg_quality", 1, 100) == ["≥ 30 · 4", "≥ 50 · 5", "≥ 70 · 6"]
    assert labels("entropy", 0, 8) == ["≥ 0.3–0.5 · 1–6", "≤ 7.99–7.97 · 1–6"]
    assert labels("aspect", 0, 0.1) == ["≤ 0.3–0.2 · 1–6 →"]


def test_a_plot_of_one_row_of_labels_begins_lower() -> None:
    one = plot(_distribution("jpeg_quality", limits_of(POLICY, RULES["jpeg_quality"]), 1, 100))
    none = plot(_distribution("jpeg_quality", (), 1, 100))
    two = plot(_distribution("jpeg_quality", limits_of(POLICY, RULES["jpeg_quality"]), 1, 300))
    assert none.top > one.top - LABEL_RISE > two.top - 2 * LABEL_RISE
    assert {label.y for label in one.labels} == {one.top + LABEL_RISE}


def _distribution(rule: str, limits: tuple[Limits, ...], low: float, high: float) -> Distribution:
    found = {"low": low, "high": high, "counts": (3, 0, 5), "measured": 8, "abstained": 0, "missing": 0, "median": low}
    return Distribution(column="c", scorer=None, rule=rule, says="", limits=limits, **found)  # type: ignore[arg-type]


def test_limits_group_domains_that_agree() -> None:
    default, *others = limits_of(POLICY, RULES["entropy"])
    assert default.domains == ()
    named = [domain for limits in others for domain in limits.domains]
    differing = list(POLICY.rules["entropy"].by_domain)
    assert sorted(named) == sorted(differing)
    assert len({limits.thresholds for limits in others}) == len(others)


@pytest.mark.parametrize(
    ("value", "written"),
    [(3, "3"), (1234567, "1,234,567"), (0.25, "0.25"), (4.0, "4"), (0.00012345, "0.000123"), (2048.5, "2,048")],
)
def test_figures_as_people_write_them(value: float, written: str) -> None:
    assert figure(value) == written


def test_stages_in_few_characters() -> None:
    assert spoken((4,)) == "4"
    assert spoken((1, 2, 3)) == "1–3"
