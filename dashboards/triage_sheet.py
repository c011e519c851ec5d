"""Modes of failure as a page of pictures that opens anywhere: nothing is fetched, everything is escaped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from dashboards.report import Page, environment
from dashboards.thumbnails import Wanted, inlined
from flywheel.records import Locator
from flywheel.workspace import Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A failure. `generation_id`: by which its picture is found; `said_to_be_at`: where one is that is not kept here."""

    failure_id: str
    generation_id: str
    prompt: str
    wrong: str
    said_to_be_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A mode: what is known of it, a line each, and its worst cases."""

    title: str
    says: str
    evidence: Sequence[str]
    cases: Sequence[Case]


def triage_sheet(workspace: Workspace, sections: Sequence[Section]) -> Page:
    """Reads the pictures that it shows; those that lie elsewhere are named."""
    asked = [case.generation_id for section in sections for case in section.cases if case.generation_id]
    found = workspace.query(
        'SELECT generation_id, image_id, uri, member, "offset", length FROM generations '
        "JOIN wanted USING (generation_id) JOIN pictures USING (image_id)",
        wanted=pa.table({"generation_id": pa.array(sorted(set(asked)), pa.string())}),
    ).to_pylist()
    image_of = {row["generation_id"]: row["image_id"] for row in found}
    wanted = {row["image_id"]: Wanted(image_id=row["image_id"], locator=Locator.of(row)) for row in found}
    pictures, missing = inlined(list(wanted.values()), workspace.config.ingest.budgets)
    html = (
        environment()
        .get_template("triage_sheet.html")
        .render(sections=sections, image_of=image_of, pictures=pictures, missing=missing)
    )
    return Page(html=html, image_ids=tuple(sorted(wanted)))
