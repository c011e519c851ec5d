"""What a benchmark says: figures with their targets, printed and written as dated Markdown and JSON."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path

from benchmarks.meter import machine

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One measured number. With a `target` it is held to it: at least, or at most when `below`."""

    name: str
    measured: float | None
    unit: str
    target: float | None = None
    below: bool = False
    note: str = ""

    @property
    def verdict(self) -> str:
        if self.measured is None:
            return "not measured"
        if self.target is None:
            return "for information"
        met = self.measured < self.target if self.below else self.measured >= self.target
        return "met" if met else "MISSED"

    @property
    def cells(self) -> tuple[str, str, str, str, str]:
        measured = "–" if self.measured is None else f"{_rounded(self.measured)} {self.unit}"
        sign = "<" if self.below else ">="
        target = "–" if self.target is None else f"{sign} {_rounded(self.target)} {self.unit}"
        return self.name, measured, target, self.verdict, self.note


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """One benchmark's figures, how they were taken, and tables or pictures that go below them."""

    title: str
    how: str
    figures: Sequence[Figure]
    below: Sequence[str] = field(default_factory=tuple)


def _rounded(value: float) -> str:
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def printed(findings: Findings) -> str:
    """Lines for a terminal: measured, target, verdict."""
    lines = [findings.title]
    for figure in findings.figures:
        name, measured, target, verdict, note = figure.cells
        lines.append(f"  {name:58} {measured:>24}  {target:>22}  {verdict}{'  (' + note + ')' if note else ''}")
    return "\n".join([*lines, *findings.below])


def write(name: str, findings: Findings, folder: Path = RESULTS) -> Path:
    """Write `<date>-<name>.md` and `.json`; returns the Markdown file."""
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"{date.today().isoformat()}-{name}"
    load = os.getloadavg()[0]
    head = f"Taken on a {machine()}; Python {platform.python_version()}; load average at the end {load:.1f}."
    document = asdict(findings) | {"machine": machine(), "date": date.today().isoformat(), "load": round(load, 1)}
    document["figures"] = [asdict(figure) | {"verdict": figure.verdict} for figure in findings.figures]
    (folder / f"{stem}.json").write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    rows = ["| what | measured | target | verdict | |", "|---|---|---|---|---|"]
    rows += [f"| {' | '.join(figure.cells)} |" for figure in findings.figures]
    again = f"Again: `python -m benchmarks {name}`."
    parts = [f"# {findings.title}", head, findings.how, "\n".join(rows), *findings.below, again]
    path = folder / f"{stem}.md"
    path.write_text("\n\n".join(part for part in parts if part) + "\n")
    return path
