"""The funnel as geometry: pure functions from counts to points; the template writes the SVG.

Units are those of an SVG view box, y grows downwards.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from filters.funnel import Funnel, Tally

# All sizes and distances are our choice.
FUNNEL_WIDTH, COLUMN_STEP, BAR_WIDTH, FIRST_X = 1160.0, 160.0, 20.0, 14.0
TOP, BAND, GAP, BOTTOM = 62.0, 320.0, 20.0, 30.0
LABEL_HEIGHT = 13.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """One segment of a stacked bar. `kind` is kept, unjudged, dropped or ingested; `rule` names what dropped it."""

    kind: str
    rule: str | None
    images: int
    share: float
    y: float
    height: float
    odd: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    y: float
    text: str
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One stage: its bar and what is written beside it. Stage 0 is what was ingested."""

    stage: int
    x: float
    sizes: str
    boxes: tuple[Box, ...]
    labels: tuple[Label, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ribbon:
    """What flows from one bar to the next, as an SVG path. `kind` is kept, unjudged, new (dropped here) or out."""

    kind: str
    path: str
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FunnelFigure:
    width: float
    height: float
    bar_width: float
    columns: tuple[Column, ...]
    ribbons: tuple[Ribbon, ...]

    @property
    def kinds(self) -> frozenset[str]:
        """The kinds of ribbons that can be seen, which a legend must explain."""
        return frozenset(ribbon.kind for ribbon in self.ribbons)


def funnel_figure(funnel: Funnel, trains_at: Sequence[Sequence[int]]) -> FunnelFigure:
    """Above the gap what is still in (kept, unjudged), below it what is out; heights are shares of all images."""
    tallies = [Tally(kept=funnel.images), *(stage.total for stage in funnel.stages)]
    columns = [
        _column(number, tally, funnel.images, trains_at[number - 1] if number else ())
        for number, tally in enumerate(tallies)
    ]
    ribbons = [
        ribbon
        for number, (before, after) in enumerate(itertools.pairwise(tallies), 1)
        for ribbon in _ribbons(number, before, after, funnel.images)
    ]
    height = TOP + BAND + GAP + BOTTOM
    return FunnelFigure(
        width=FUNNEL_WIDTH, height=height, bar_width=BAR_WIDTH, columns=tuple(columns), ribbons=tuple(ribbons)
    )


def _column(number: int, tally: Tally, images: int, sizes: Sequence[int]) -> Column:
    boxes: list[Box] = []
    y = TOP

    def stack(kind: str, count: int, rule: str | None = None) -> None:
        nonlocal y
        share = count / images if images else 0.0
        odd = bool(boxes) and not boxes[-1].odd
        if count:
            boxes.append(Box(kind=kind, rule=rule, images=count, share=share, y=y, height=share * BAND, odd=odd))
        y += share * BAND

    stack("kept" if number else "ingested", tally.kept)
    stack("unjudged", tally.unjudged_total)
    y += GAP
    for rule, count in tally.dropped.items():
        stack("dropped", count, rule)
    x = FIRST_X + COLUMN_STEP * number
    return Column(stage=number, x=x, sizes=_sizes(sizes), boxes=tuple(boxes), labels=_labels(boxes))


def _sizes(sizes: Sequence[int]) -> str:
    return ", ".join(map(str, sizes)) + " px" if sizes else ""


def _labels(boxes: Sequence[Box]) -> tuple[Label, ...]:
    """Beside each segment that is high enough for its line; the others are told in one line at the end."""
    labels: list[Label] = []
    left: list[Box] = []
    for box in boxes:
        name = box.rule or box.kind
        middle = box.y + box.height / 2
        if box.height < LABEL_HEIGHT * (0.75 if box.kind == "dropped" else 0.5):
            left.append(box)
            continue
        labels.append(Label(y=middle, text=f"{name} {_percent(box.share)}", kind=box.kind))
    dropped = [box for box in left if box.kind == "dropped"]
    if dropped and boxes:
        end = boxes[-1].y + boxes[-1].height
        y = max([end, *(label.y + LABEL_HEIGHT for label in labels if label.kind == "dropped")])
        told = dropped[0].rule if len(dropped) == 1 else f"{len(dropped)} more"
        share = sum(box.share for box in dropped)
        labels.append(Label(y=y + 4, text=f"{told} {_percent(share)}", kind="dropped"))
    return tuple(labels)


def _percent(share: float) -> str:
    percent = 100 * share
    return f"{percent:.0f} %" if percent >= 9.95 else f"{percent:.1f} %"


def _ribbons(number: int, before: Tally, after: Tally, images: int) -> Iterator[Ribbon]:
    """Kept and unjudged go on, what is newly dropped falls across the gap, what was out stays out."""
    if not images:
        return
    scale = BAND / images
    left, right = FIRST_X + COLUMN_STEP * (number - 1) + BAR_WIDTH, FIRST_X + COLUMN_STEP * number
    inside, inside_before = after.images - after.dropped_total, before.images - before.dropped_total
    kept_before = min(before.kept, inside) if number > 1 else after.kept
    new = after.dropped_total - before.dropped_total
    out_left, out_right = TOP + inside_before * scale + GAP, TOP + inside * scale + GAP
    spans = (
        ("kept", TOP, kept_before, TOP, after.kept, f"{after.kept:,} kept"),
        (
            "unjudged",
            TOP + kept_before * scale,
            inside - kept_before,
            TOP + after.kept * scale,
            inside - after.kept,
            f"{inside - after.kept:,} unjudged",
        ),
        ("new", TOP + inside * scale, new, out_right, new, f"{new:,} newly dropped"),
        (
            "out",
            out_left,
            before.dropped_total,
            out_right + new * scale,
            before.dropped_total,
            f"{before.dropped_total:,} dropped before",
        ),
    )
    for kind, y0, count0, y1, count1, told in spans:
        if count0 or count1:
            path = _ribbon(left, y0, count0 * scale, right, y1, count1 * scale)
            yield Ribbon(kind=kind, path=path, title=f"stage {number}: {told}")


def _ribbon(x0: float, y0: float, height0: float, x1: float, y1: float, height1: float) -> str:
    middle = (x0 + x1) / 2
    return (
        f"M{x0:.1f} {y0:.2f}C{middle:.1f} {y0:.2f} {middle:.1f} {y1:.2f} {x1:.1f} {y1:.2f}"
        f"V{y1 + height1:.2f}C{middle:.1f} {y1 + height1:.2f} {middle:.1f} {y0 + height0:.2f} {x0:.1f} {y0 + height0:.2f}Z"
    )
