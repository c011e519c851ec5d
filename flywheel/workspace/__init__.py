"""The workspace: tables, packs, runs and the SQL over them. The only writer of tables.

`Workspace` is loaded when it is first asked for: the children of workers read bytes through
`flywheel.workspace.storage`, and those of queries have work of their own; neither opens a table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flywheel.workspace.workspace import Workspace

__all__ = ["Workspace"]


def __getattr__(name: str) -> Any:
    if name != "Workspace":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from flywheel.workspace.workspace import Workspace

    return Workspace
