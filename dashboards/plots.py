"""A score's distribution and its thresholds as geometry; the template writes the SVG.

Units are those of an SVG view box, y grows downwards.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from dashboards.report_scores import Distribution, Limits, Threshold

# All sizes and distances are our choice.
PLOT_WIDTH, PLOT_LEFT, PLOT_RIGHT = 356.0, 12.0, 342.0
NAMES_RIGHT, PLOT_LEFT_OF_NAMES = 74.0, 80.0
LETTER, LEVELS, NEAR = 5.7, 3, 16.0
PLOT_TOP, PLOT_BOTTOM, ROW_TOP, ROW_HEIGHT = 41.0, 132.0, 152.0, 15.0
LABEL_STEP, LABEL_RISE = 12.0, 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    x: float
    y: float
    width: float
    height: float
    images: int
    span: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A threshold; `beyond` where it lies outside the axis and is drawn at its end."""

    x: float
    title: str
    beyond: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """What is written over a threshold, or over some too close to be told apart: what is allowed · at which stages."""

    x: float
    y: float
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Shade:
    """What a threshold refuses; drawn over each other, the stricter stages add up."""

    x: float
    width: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainRow:
    """The thresholds of domains that differ: what the first and the last stage allow, and a mark a threshold."""

    y: float
    label: str
    title: str
    loose: Shade
    strict: Shade
    marks: tuple[Line, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """`top` is where anything is drawn: plots with few labels need less room."""

    width: float
    top: float
    height: float
    left: float
    right: float
    names_right: float
    bars: tuple[Bar, ...]
    lines: tuple[Line, ...]
    labels: tuple[Label, ...]
    shades: tuple[Shade, ...]
    rows: tuple[DomainRow, ...]
    ticks: tuple[tuple[float, str], ...]


def plot(told: Distribution) -> Plot:
    """A histogram of one score with the thresholds of the policy drawn through it."""
    bars = tuple(_bars(told))
    default = told.limits[0].thresholds if told.limits else ()
    rows = tuple(_row(told, limits, number) for number, limits in enumerate(told.limits[1:]))
    ticks = tuple((_x(told, value), figure(value)) for value in _round_values(told.low, told.high))
    shades = tuple(_refused(told, threshold) for threshold in default)
    labels = tuple(_labels(told, default))
    return Plot(
        width=PLOT_WIDTH,
        top=min((label.y for label in labels), default=PLOT_TOP) - LABEL_RISE,
        height=ROW_TOP + ROW_HEIGHT * len(rows) + (4 if rows else 0),
        left=left_of(told),
        right=PLOT_RIGHT,
        names_right=NAMES_RIGHT,
        bars=bars,
        lines=tuple(_line(told, threshold) for threshold in default),
        labels=labels,
        shades=shades,
        rows=rows,
        ticks=ticks,
    )


def figure(value: float | int) -> str:
    """A number as people write it: three digits that count."""
    if isinstance(value, int) or (float(value).is_integer() and abs(value) < 1e15):
        return f"{int(value):,}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _x(told: Distribution, value: float) -> float:
    place = (value - told.low) / (told.high - told.low)
    return left_of(told) + min(max(place, 0.0), 1.0) * (PLOT_RIGHT - left_of(told))


def left_of(told: Distribution) -> float:
    """Where the axis begins: further in where rows of domains need room for their names."""
    return PLOT_LEFT_OF_NAMES if len(told.limits) > 1 else PLOT_LEFT


def _round_values(low: float, high: float) -> Iterator[float]:
    """Three to six values of 1, 2, 2.5 or 5 times a power of ten between the ends."""
    rough = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(times * power for times in (1, 2, 2.5, 5, 10) if times * power >= rough)
    for number in range(math.ceil(low / step), math.floor(high / step) + 1):
        yield round(number * step, 12)


def _bars(told: Distribution) -> Iterator[Bar]:
    """Heights grow with the square root of the count: thresholds cut tails, which must be seen beside the bulk."""
    most = max(told.counts, default=0)
    width = (PLOT_RIGHT - left_of(told)) / len(told.counts)
    step = (told.high - told.low) / len(told.counts)
    for place, images in enumerate(told.counts):
        if images:
            height = max(1.5, math.sqrt(images / most) * (PLOT_BOTTOM - PLOT_TOP))
            low = told.low + place * step
            span = f"{figure(low)} to {figure(low + step)}"
            x = left_of(told) + place * width
            yield Bar(x=x, y=PLOT_BOTTOM - height, width=width - 0.6, height=height, images=images, span=span)


def _line(told: Distribution, threshold: Threshold) -> Line:
    beyond = not told.low <= threshold.value <= told.high
    return Line(x=_x(told, threshold.value), title=_sentence(threshold), beyond=beyond)


def _labels(told: Distribution, thresholds: Sequence[Threshold]) -> Iterator[Label]:
    """Neighbours of one bound share a label; labels that would overlap step up to another row."""
    ends: dict[int, float] = {}
    for cluster in _clusters(told, thresholds):
        low, high = cluster[0].value, cluster[-1].value
        sign, first, last = ("≥", low, high) if cluster[0].bound == "min" else ("≤", high, low)
        values = figure(low) if low == high else f"{figure(first)}–{figure(last)}"
        stages = sorted(stage for threshold in cluster for stage in threshold.stages)
        arrow = " →" if low > told.high else " ←" if high < told.low else ""
        text = f"{sign} {values} · {spoken(stages)}{arrow}"
        half = LETTER / 2 * len(text)
        middle = (_x(told, low) + _x(told, high)) / 2
        x = min(max(middle, half), PLOT_WIDTH - half)
        level = next((row for row in range(LEVELS) if ends.get(row, -1e9) < x - half), LEVELS - 1)
        ends[level] = x + half + LETTER
        yield Label(x=x, y=PLOT_TOP - 7 - LABEL_STEP * level, text=text)


def _clusters(told: Distribution, thresholds: Sequence[Threshold]) -> Iterator[list[Threshold]]:
    cluster: list[Threshold] = []
    for threshold in sorted(thresholds, key=lambda t: (t.value, t.bound)):
        apart = cluster and _x(told, threshold.value) - _x(told, cluster[0].value) > NEAR
        if cluster and (apart or threshold.bound != cluster[0].bound):
            yield cluster
            cluster = []
        cluster.append(threshold)
    if cluster:
        yield cluster


def _refused(told: Distribution, threshold: Threshold) -> Shade:
    x = _x(told, threshold.value)
    return (
        Shade(x=left_of(told), width=x - left_of(told))
        if threshold.bound == "min"
        else Shade(x=x, width=PLOT_RIGHT - x)
    )


def _row(told: Distribution, limits: Limits, number: int) -> DomainRow:
    names = ", ".join(limits.domains)
    marks = tuple(_line(told, threshold) for threshold in limits.thresholds)
    label = names if len(names) <= 13 else f"{limits.domains[0]} +{len(limits.domains) - 1}"
    said = "; ".join(_sentence(threshold) for threshold in limits.thresholds)
    return DomainRow(
        y=ROW_TOP + ROW_HEIGHT * number + ROW_HEIGHT / 2,
        label=label,
        title=f"{names}: {said}",
        loose=_allowed(told, limits.thresholds, 0),
        strict=_allowed(told, limits.thresholds, -1),
        marks=marks,
    )


def _allowed(told: Distribution, thresholds: Sequence[Threshold], place: int) -> Shade:
    """Between the limits of the first (place 0) or the last (-1) stage."""
    bounds: Mapping[str, list[float]] = {
        bound: [t.value for t in thresholds if t.bound == bound] for bound in ("min", "max")
    }
    low = _x(told, bounds["min"][place]) if bounds["min"] else left_of(told)
    high = _x(told, bounds["max"][place]) if bounds["max"] else PLOT_RIGHT
    return Shade(x=low, width=max(0.0, high - low))


def spoken(stages: Sequence[int]) -> str:
    """Stages in a few characters: 4, or 1–3."""
    return str(stages[0]) if len(stages) == 1 else f"{stages[0]}–{stages[-1]}"


def _sentence(threshold: Threshold) -> str:
    word = "stage" if len(threshold.stages) == 1 else "stages"
    sign = "≥" if threshold.bound == "min" else "≤"
    return f"{sign} {figure(threshold.value)} at {word} {spoken(threshold.stages)}"
