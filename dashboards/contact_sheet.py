"""Search results as a page of pictures that opens anywhere: nothing is fetched, everything is escaped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dashboards.report import Page, environment
from dashboards.report_samples import originals
from dashboards.thumbnails import Wanted, inlined
from flywheel.workspace import Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One picture of the sheet and what is written under it."""

    image_id: str
    score: float
    caption: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A search and what it found, best first."""

    title: str
    says: str
    results: Sequence[Result]


def contact_sheet(workspace: Workspace, rows: Sequence[Row]) -> Page:
    """Searches one below the other. Reads the originals of what it shows."""
    known = originals(workspace, {result.image_id for row in rows for result in row.results})
    wanted = [Wanted(image_id=original.image_id, locator=original.locator) for original in known.values()]
    pictures, missing = inlined(wanted, workspace.config.ingest.budgets)
    html = (
        environment()
        .get_template("contact_sheet.html")
        .render(rows=rows, originals=known, pictures=pictures, missing=missing)
    )
    return Page(html=html, image_ids=tuple(sorted(known)))
