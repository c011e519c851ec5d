"""People's own views: `views/NAME.sql` of a workspace, one SELECT each.

A view that cannot be is left out and named; it stops nothing but itself.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from flywheel.workspace.storage import list_objects
from flywheel.workspace.views import JUDGED, VIEWS
from flywheel.workspace.workspace import Workspace

_FOLDER = "views"
_SUFFIX = ".sql"


@dataclass(frozen=True, slots=True)
class OwnViews:
    """SQL by name, and by name what to say of the files that are no views."""

    sql: Mapping[str, str]
    left_out: Mapping[str, str]


def own_views(workspace: Workspace, others: Collection[str] = ()) -> OwnViews:
    """The views whose names are free (of tables, of our views, of `others`) and whose files are text.

    What they say is for DuckDB to judge.
    """
    named = (*workspace.tables.names(), *VIEWS, *JUDGED, *others)
    taken = {name.split("(")[0].lower() for name in named}
    found: dict[str, str] = {}
    left_out: dict[str, str] = {}
    for name in _names(workspace):
        try:
            if not name.isidentifier():
                raise ValueError("a view is named by its file: letters, digits and _ only")
            if name.lower() in taken:
                raise ValueError(f"{name} is a table or a view already")
            found[name] = workspace.store.read(f"{_FOLDER}/{name}{_SUFFIX}").decode()
            taken.add(name.lower())
        except UnicodeDecodeError:
            left_out[name] = line(name, "it is not UTF-8 text")
        except (OSError, ValueError) as error:
            left_out[name] = line(name, str(error))
    return OwnViews(found, left_out)


def line(name: str, why: str) -> str:
    """How a view that was left out is told."""
    return f"{_FOLDER}/{name}{_SUFFIX}: {why}".encode(errors="backslashreplace").decode()


def _names(workspace: Workspace) -> list[str]:
    if workspace.is_local:
        files = [file.name for file in (workspace.path / _FOLDER).glob(f"*{_SUFFIX}")]
    else:
        root = workspace.store.uri_of(_FOLDER)
        inside = [stored.uri.removeprefix(f"{root}/") for stored in list_objects(root)]
        files = [name for name in inside if "/" not in name and name.endswith(_SUFFIX)]
    return sorted(name.removesuffix(_SUFFIX) for name in files)
