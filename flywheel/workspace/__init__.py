"""The workspace: tables, packs, runs and the SQL over them. The only writer of tables."""

from flywheel.workspace.workspace import Workspace

__all__ = ["Workspace"]
