"""A score's distribution and its thresholds as geometry; the template writes the SVG.

Units are those of an SVG view box, y grows downwards.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from dashboards.report_scores import Distribution, Limits, Threshold

# All sizes and distances are our choice.
PLOT_WIDTH, PLOT_LEFT, PLOT_RIGHT = 356.0, 70.0, 346.0
LETTER, LEVELS = 5.4, 3
PLOT_TOP, PLOT_BOTTOM, ROW_TOP, ROW_HEIGHT = 40.0, 132.0, 152.0, 15.0


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
    """A threshold. `level` is the row its label sits in, `beyond` where it lies outside the axis."""

    x: float
    text_x: float
    label: str
    title: str
    level: int
    beyond: bool


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
    width: float
    height: float
    bars: tuple[Bar, ...]
    lines: tuple[Line, ...]
    shades: tuple[Shade, ...]
    rows: tuple[DomainRow, ...]
    ticks: tuple[tuple[float, str], ...]


def plot(told: Distribution) -> Plot:
    """A histogram of one score with the thresholds of the policy drawn through it."""
    bars = tuple(_bars(told))
    default = told.limits[0].thresholds if told.limits else ()
    rows = tuple(_row(told, limits, number) for number, limits in enumerate(told.limits[1:]))
    ticks = tuple((_x(told, value), figure(value)) for value in (told.low, (told.low + told.high) / 2, told.high))
    shades = tuple(_refused(told, threshold) for threshold in default)
    height = ROW_TOP + ROW_HEIGHT * len(rows) + (4 if rows else 0)
    return Plot(
        width=PLOT_WIDTH,
        height=height,
        bars=bars,
        lines=_lines(told, default),
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
    return PLOT_LEFT + min(max(place, 0.0), 1.0) * (PLOT_RIGHT - PLOT_LEFT)


def _bars(told: Distribution) -> Iterator[Bar]:
    most = max(told.counts, default=0)
    width = (PLOT_RIGHT - PLOT_LEFT) / len(told.counts)
    step = (told.high - told.low) / len(told.counts)
    for place, images in enumerate(told.counts):
        if images:
            height = max(1.0, images / most * (PLOT_BOTTOM - PLOT_TOP))
            low = told.low + place * step
            span = f"{figure(low)} to {figure(low + step)}"
            x = PLOT_LEFT + place * width
            yield Bar(x=x, y=PLOT_BOTTOM - height, width=width - 0.6, height=height, images=images, span=span)


def _lines(told: Distribution, thresholds: Sequence[Threshold]) -> tuple[Line, ...]:
    """Labels that would overlap step down to another row."""
    lines: list[Line] = []
    ends: dict[int, float] = {}
    for threshold in sorted(thresholds, key=lambda t: t.value):
        x, label = _x(told, threshold.value), f"{figure(threshold.value)} · {spoken(threshold.stages)}"
        half = LETTER / 2 * len(label)
        text_x = min(max(x, half), PLOT_WIDTH - half)
        level = next((row for row in range(LEVELS) if ends.get(row, -1e9) < text_x - half), LEVELS - 1)
        ends[level] = text_x + half
        beyond = not told.low <= threshold.value <= told.high
        lines.append(Line(x=x, text_x=text_x, label=label, title=_sentence(threshold), level=level, beyond=beyond))
    return tuple(lines)


def _refused(told: Distribution, threshold: Threshold) -> Shade:
    x = _x(told, threshold.value)
    return Shade(x=PLOT_LEFT, width=x - PLOT_LEFT) if threshold.bound == "min" else Shade(x=x, width=PLOT_RIGHT - x)


def _row(told: Distribution, limits: Limits, number: int) -> DomainRow:
    names = ", ".join(limits.domains)
    marks = tuple(
        Line(x=_x(told, t.value), text_x=_x(told, t.value), label=spoken(t.stages), title=_sentence(t), level=0, beyond=False)
        for t in limits.thresholds
    )
    label = names if len(names) <= 14 else f"{limits.domains[0]} +{len(limits.domains) - 1}"
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
    low = _x(told, bounds["min"][place]) if bounds["min"] else PLOT_LEFT
    high = _x(told, bounds["max"][place]) if bounds["max"] else PLOT_RIGHT
    return Shade(x=low, width=max(0.0, high - low))


def spoken(stages: Sequence[int]) -> str:
    """Stages in a few characters: 4, or 1–3."""
    return str(stages[0]) if len(stages) == 1 else f"{stages[0]}–{stages[-1]}"


def _sentence(threshold: Threshold) -> str:
    word = "stage" if len(threshold.stages) == 1 else "stages"
    sign = "≥" if threshold.bound == "min" else "≤"
    return f"{sign} {figure(threshold.value)} at {word} {spoken(threshold.stages)}"
