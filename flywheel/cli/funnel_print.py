"""A funnel as a table, and as a document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from filters.funnel import Funnel, StageChange, Tally
from flywheel.cli.app import table


def print_funnel(funnel: Funnel, by: str = "stage") -> None:
    """One row a stage (or a stage and domain, or a stage and bucket); rules in their order of evaluation."""
    rows: list[list[Any]] = []
    for stage in funnel.stages:
        groups: Mapping[str, Tally] = {"domain": stage.by_domain, "bucket": stage.by_bucket}.get(by, {"": stage.total})
        for name, tally in groups.items():
            counts = [tally.images, tally.kept, tally.dropped_total, tally.unjudged_total]
            group = [name] if by != "stage" else []
            rows.append([stage.stage, *group, *counts, _named(tally.dropped), _named(tally.unjudged)])
    head = ["stage", *([by] if by != "stage" else []), "in", "kept", "dropped", "unjudged"]
    title = f"funnel of {funnel.images} images under policy {funnel.policy_name} ({funnel.policy_id})"
    table(title, [*head, "dropped by", "unjudged for want of"], rows)


def print_changes(changes: Sequence[StageChange]) -> None:
    """What another policy would change, a row a stage."""
    rows = [
        [change.stage, f"{change.kept:+d}", _named(change.dropped, "+d"), _named(change.unjudged, "+d")]
        for change in changes
        if not change.nothing
    ]
    if rows:
        table("against the active policy", ["stage", "kept", "dropped by", "unjudged for want of"], rows)
    else:
        table("against the active policy", ["no stage changes"], [])


def funnel_document(funnel: Funnel) -> dict[str, Any]:
    return asdict(funnel)


def _named(counts: Mapping[str, int], form: str = "d") -> str:
    return ", ".join(f"{name} {count:{form}}" for name, count in counts.items())
