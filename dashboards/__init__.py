"""Pages over a workspace, read-only."""
