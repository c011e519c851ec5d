"""What else shows an image, outside tables and packs: thumbnails, reports, exports."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from flywheel.errors import FlywheelError
from flywheel.records import Locator
from flywheel.workspace import Workspace
from flywheel.workspace.places import canonical_uri
from flywheel.workspace.storage import read_locator

_IMAGE_ID = re.compile(rb"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")


@dataclass(frozen=True, slots=True, kw_only=True)
class Copies:
    """Places outside the workspace that still hold images (how many each), and those that could not be asked."""

    holding: dict[str, int]
    unknown: list[str]


def thumbnails_of(workspace: Workspace, image_ids: Collection[str]) -> list[str]:
    """Files of `thumbnails/` named after one of the images (paths in the workspace)."""
    paths = [workspace.store.relpath_of(stored.uri) for stored in workspace.store.list("thumbnails")]
    return [path for path in paths if PurePosixPath(path).name.split(".")[0].split("-")[0] in image_ids]


def reports_about(workspace: Workspace, image_ids: Collection[str]) -> list[str]:
    """Reports, each with its side-car, that show one of the images.

    A report whose side-car is missing may show anything and is named too: it can be drawn again.
    """
    paths = {workspace.store.relpath_of(stored.uri) for stored in workspace.store.list("reports")}
    found = []
    for page in sorted(path for path in paths if path.endswith(".html")):
        listed = page.removesuffix(".html") + ".ids.json"
        if listed not in paths:
            found.append(page)
        elif not _ids_in(workspace.store.read(listed)).isdisjoint(image_ids):
            found += [page, listed]
    return found


def outside_reports_of(workspace: Workspace, image_ids: Collection[str]) -> Copies:
    """Ask the side-car of every report that was ever written elsewhere than in `reports/`."""
    inside = f"{workspace.uri}/reports/"
    pages = [page for page in _written_to(workspace, "report") if page.endswith(".html")]
    lists = {page: f"{page.removesuffix('.html')}.ids.json" for page in pages if not page.startswith(inside)}
    return _asked(lists, image_ids)


def exports_of(workspace: Workspace, image_ids: Collection[str]) -> Copies:
    """Ask the manifest of every export ever made for the images."""
    folders = _written_to(workspace, "export")
    return _asked({folder: f"{canonical_uri(folder)}/manifest.json" for folder in folders}, image_ids)


def _written_to(workspace: Workspace, step: str) -> list[str]:
    """Every place to which runs of a step have written."""
    details = workspace.query(
        f"SELECT detail FROM runs WHERE step = '{step}' AND status <> 'refused' AND detail IS NOT NULL"
    )["detail"]
    return sorted({str(to) for text in details.to_pylist() if (to := json.loads(text).get("to"))})


def _asked(lists: Mapping[str, str], image_ids: Collection[str]) -> Copies:
    """`lists`: the URI of what lists the images of each place."""
    copies = Copies(holding={}, unknown=[])
    for place, listed in lists.items():
        try:
            document = read_locator(Locator(uri=listed))
        except (OSError, FlywheelError):
            copies.unknown.append(place)
            continue
        if held := _ids_in(document) & set(image_ids):
            copies.holding[place] = len(held)
    return copies


def _ids_in(document: bytes) -> set[str]:
    return {found.decode() for found in _IMAGE_ID.findall(document)}
