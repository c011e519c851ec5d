"""One workspace: where it is, what its configuration says, and the doors to its tables."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pyarrow as pa

from flywheel.errors import (
    DiskReserve,
    UsageError,
    WorkspaceMissing,
    WorkspaceTooNew,
    WorkspaceTooOld,
)
from flywheel.workspace import migrations
from flywheel.workspace.config import TEMPLATE, WorkspaceConfig, parse_config
from flywheel.workspace.places import canonical_uri
from flywheel.workspace.storage import Store
from flywheel.workspace.tables import Tables

CONFIG = "flywheel.toml"
_FORMAT = "tables/format.json"


class Workspace:
    """A folder or object-store prefix holding `flywheel.toml`, `tables/`, `packs/`, `views/`.

    Use `Workspace.open` or `Workspace.init`; neither starts anything.
    """

    def __init__(self, location: str) -> None:
        self.uri = canonical_uri(location).rstrip("/")
        self.is_local = self.uri.startswith("file://")
        self.store = Store(self.uri)
        self.tables = Tables(f"{self.uri}/tables")

    @classmethod
    def init(cls, location: str, profile: str = "miniature") -> Workspace:
        """Create a workspace.

        Raises UsageError when there is one already.
        """
        workspace = cls(location)
        if workspace.store.exists(CONFIG):
            raise UsageError(f"{location} is a workspace already")
        for migration in migrations.MIGRATIONS:
            migrations.apply(workspace.tables, migration)
        workspace._write_format(migrations.FORMAT)
        if workspace.is_local:
            (workspace.path / "views").mkdir(exist_ok=True)
        workspace.store.write_new(CONFIG, TEMPLATE.format(profile=profile).encode())
        return workspace

    @classmethod
    def open(cls, location: str) -> Workspace:
        """Open a workspace of this program's format.

        Raises WorkspaceMissing, WorkspaceTooNew or WorkspaceTooOld, each with what to do.
        """
        workspace = cls.locate(location)
        found = workspace.format
        if found > migrations.FORMAT:
            raise WorkspaceTooNew(
                f"{location} has format {found}, this flywheel reads up to {migrations.FORMAT}; install a newer flywheel"
            )
        if found < migrations.FORMAT:
            raise WorkspaceTooOld(
                f"{location} has format {found}, this flywheel writes {migrations.FORMAT}; run `flywheel migrate`"
            )
        return workspace

    @classmethod
    def locate(cls, location: str) -> Workspace:
        """Find a workspace of any format (for `flywheel migrate`)."""
        workspace = cls(location)
        if not workspace.store.exists(CONFIG):
            raise WorkspaceMissing(f"no workspace at {location}; run `flywheel init -w {location}`")
        return workspace

    @property
    def path(self) -> Path:
        """The local folder.

        Raises UsageError on an object store, where no such folder is.
        """
        if not self.is_local:
            raise UsageError(f"{self.uri} is not a local folder; this needs one")
        return Path(unquote(urlsplit(self.uri).path))

    @property
    def format(self) -> int:
        return int(json.loads(self.store.read(_FORMAT))["format"])

    @cached_property
    def config(self) -> WorkspaceConfig:
        return parse_config(self.store.read(CONFIG).decode(), f"{self.uri}/{CONFIG}")

    def migrate(self, *, dry_run: bool) -> list[str]:
        """Apply what is pending; returns the changes, a line each."""
        changes: list[str] = []
        for migration in migrations.pending(self.format):
            changes += migrations.describe(self.tables, migration)
            if not dry_run:
                migrations.apply(self.tables, migration)
                self._write_format(migration.number)
        return changes

    def query(self, sql: str, views: Mapping[str, str] | None = None, **arrow: pa.Table) -> pa.Table:
        """Answer our own SQL in process, over the newest version of every table it names.

        `arrow` tables are visible under their names. For people's SQL see `flywheel.workspace.query`.
        """
        from flywheel.workspace.engine import answer

        return answer(self.tables, sql, views or {}, arrow)

    def require_disk(self) -> None:
        """Raises DiskReserve when a local disk is below the configured reserve."""
        if not self.is_local:
            return
        reserve = self.config.run.disk_reserve_mb << 20
        free = shutil.disk_usage(self.path).free
        if free < reserve:
            raise DiskReserve(
                f"only {free >> 20} MB free under {self.path}, reserve is {reserve >> 20} MB; the run is paused with its "
                "tables whole: free space, then start it again"
            )

    def _write_format(self, number: int) -> None:
        self.store.write_new(_FORMAT, json.dumps({"format": number}).encode())
