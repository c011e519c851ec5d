"""The score sheet: the view `scores`, kept as a file while the tables behind it stay as they are.

The view joins a table a scorer; over a million images that costs ten seconds, a question over the kept sheet half of
one. Every question goes through `sheet_views`, which takes the sheet where it is fresh and the joins where it is not.
"""

from __future__ import annotations

from collections.abc import Mapping

from filters.policy import Policy
from flywheel.workspace import Workspace, derived
from flywheel.workspace.engine import Views
from pipelines.judging import judging_views

_NAME = "score_sheet"
_SQL = "SELECT * FROM scores"


def sheet_views(workspace: Workspace, policy: Policy | None = None) -> Views:
    """The judging views, with `scores` read from the sheet where it is fresh."""
    views = judging_views(workspace, policy)
    sheet = derived.find(workspace, _NAME, _SQL, views)
    return views if sheet is None else {**views, "scores": f"SELECT * FROM {_NAME}", _NAME: sheet}


def refresh(workspace: Workspace, policy: Policy | None = None) -> None:
    """Keep a sheet of the scores as they are now, unless there is one."""
    views: Mapping[str, str] = judging_views(workspace, policy)
    if derived.find(workspace, _NAME, _SQL, views) is None:
        derived.keep(workspace, _NAME, _SQL, views)
