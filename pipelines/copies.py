"""What else shows an image, outside tables and packs: thumbnails, reports, exports."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import PurePosixPath

from flywheel.errors import FlywheelError
from flywheel.records import Locator
from flywheel.workspace import Workspace
from flywheel.workspace.places import canonical_uri
from flywheel.workspace.storage import read_locator

_IMAGE_ID = re.compile(rb"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")


@dataclass(frozen=True, slots=True, kw_only=True)
class Exports:
    """Export folders that still hold images (how many each), and those that could not be asked."""

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


def exports_of(workspace: Workspace, image_ids: Collection[str]) -> Exports:
    """Ask the manifest of every export ever made for the images."""
    details = workspace.query("SELECT detail FROM runs WHERE step = 'export' AND detail IS NOT NULL")["detail"]
    folders = {str(to) for text in details.to_pylist() if (to := json.loads(text).get("to"))}
    exports = Exports(holding={}, unknown=[])
    for folder in sorted(folders):
        try:
            manifest = read_locator(Locator(uri=f"{canonical_uri(folder)}/manifest.json"))
        except (OSError, FlywheelError):
            exports.unknown.append(folder)
            continue
        if held := _ids_in(manifest) & set(image_ids):
            exports.holding[folder] = len(held)
    return exports


def _ids_in(document: bytes) -> set[str]:
    return {found.decode() for found in _IMAGE_ID.findall(document)}
