"""What the report says of captions: how many of each kind held, why others did not, and some beside their images."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from captioners import CAPTIONERS
from captioners.kind import Finding
from dashboards.report_samples import Shown, Views
from flywheel.workspace import Workspace

# Our choice: enough to see how every kind reads.
SHOWN, OF_A_DOMAIN, REASONS = 12, 3, 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Caption:
    """An accepted caption with what it was held to."""

    kind: str
    text: str
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Captioned:
    """An image and its captions, in the order of the kinds."""

    shown: Shown
    captions: tuple[Caption, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Yield:
    """What became of all that was asked of one kind: `tokens` is the mean of the accepted, `why` the commonest failures."""

    kind: str
    written: int
    refused: int
    tokens: float | None
    why: tuple[tuple[str, int], ...]


def yields(workspace: Workspace) -> tuple[Yield, ...]:
    """One a kind that was ever asked for."""
    written = {row["kind"]: row for row in workspace.query(_WRITTEN).to_pylist()}
    refused: defaultdict[str, list[tuple[str, int]]] = defaultdict(list)
    for row in workspace.query(_REFUSED).to_pylist():
        refused[row["kind"]].append((row["why"], row["n"]))
    return tuple(
        Yield(
            kind=kind,
            written=written[kind]["n"] if kind in written else 0,
            refused=sum(number for _, number in refused[kind]),
            tokens=written[kind]["tokens"] if kind in written else None,
            why=tuple(refused[kind][:REASONS]),
        )
        for kind in CAPTIONERS
        if kind in written or refused[kind]
    )


def captioned(workspace: Workspace, views: Views) -> tuple[Captioned, ...]:
    """Images with the most kinds of captions, some of each domain."""
    chosen = workspace.query(_CHOSEN, views).to_pylist()
    rows = workspace.query(
        "SELECT image_id, kind, text, evidence_json FROM captions SEMI JOIN chosen USING (image_id) "
        "QUALIFY row_number() OVER (PARTITION BY image_id, kind ORDER BY captioner DESC, caption_id) = 1",
        chosen=pa.table({"image_id": pa.array([row["image_id"] for row in chosen], pa.string())}),
    ).to_pylist()
    found: defaultdict[str, dict[str, Caption]] = defaultdict(dict)
    for row in rows:
        caption = Caption(kind=row["kind"], text=row["text"] or "", findings=_findings(row["evidence_json"]))
        found[row["image_id"]][row["kind"]] = caption
    return tuple(
        Captioned(
            shown=Shown(image_id=row["image_id"], domain=row["domain"]),
            captions=tuple(found[row["image_id"]][kind] for kind in CAPTIONERS if kind in found[row["image_id"]]),
        )
        for row in chosen
    )


def _findings(text: str | None) -> tuple[Finding, ...]:
    try:
        read: list[dict[str, Any]] = json.loads(text or "[]")
        return tuple(Finding(**finding) for finding in read)
    except (ValueError, TypeError):  # evidence of another version of the program
        return ()


_WRITTEN = (
    "SELECT kind, count(*) AS n, avg(tokens) AS tokens FROM captions SEMI JOIN images USING (image_id) GROUP BY kind"
)
# Numbers are left out, so that equal failures count together.
_REFUSED = """
SELECT split_part(step, '.', 2) AS kind, regexp_replace(coalesce(detail, reason), ' ?[0-9.]+', '', 'g') AS why, count(*) AS n
FROM last_outcomes WHERE step LIKE 'caption.%' AND status <> 'ok' GROUP BY ALL ORDER BY n DESC, why"""
_CHOSEN = f"""
SELECT image_id, domain FROM (
  SELECT image_id, any_value(s.domain) AS domain, count(DISTINCT kind) AS kinds
  FROM captions JOIN scores s USING (image_id) GROUP BY image_id)
QUALIFY row_number() OVER (PARTITION BY domain ORDER BY kinds DESC, image_id) <= {OF_A_DOMAIN}
ORDER BY kinds DESC, image_id LIMIT {SHOWN}"""
