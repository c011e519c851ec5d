"""One workspace: where it is, what its configuration says, and the doors to its tables."""

from __future__ import annotations

import json
import os
import shlex
import shutil
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import pyarrow as pa

from flywheel.errors import (
    DiskReserve,
    FlywheelError,
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

if TYPE_CHECKING:
    from flywheel.workspace.engine import Views

CONFIG = "flywheel.toml"
_FORMAT = "tables/format.json"


class Workspace:
    """A folder or object-store prefix holding `flywheel.toml`, `tables/`, `packs/`, `views/`.

    Use `Workspace.open` or `Workspace.init`; neither starts anything.
    """

    def __init__(self, location: str) -> None:
        """Raises UsageError for what names no place that tables can lie in."""
        if not location.strip():
            raise UsageError("the workspace has no name: give a folder or an s3:// URI with -w")
        self.location = location
        self.uri = canonical_uri(location).rstrip("/")
        if self.uri == "file:":
            raise UsageError("the root of the file system is no place for a workspace: use a folder of its own")
        self.is_local = self.uri.startswith("file://")
        self.store = Store(self.uri)
        self.tables = Tables(f"{self.uri}/tables")

    @classmethod
    def init(cls, location: str, profile: str = "miniature") -> Workspace:
        """Create a workspace.

        Raises UsageError when there is one already, or where none can be.
        """
        workspace = cls(location)
        if workspace._exists():
            raise UsageError(f"{location} is a workspace already")
        workspace._make_folders()
        for migration in migrations.MIGRATIONS:
            migrations.apply(workspace.tables, migration)
        workspace._write_format(migrations.FORMAT)
        workspace.store.write_new(CONFIG, TEMPLATE.format(profile=profile).encode())
        return workspace

    @classmethod
    def open(cls, location: str) -> Workspace:
        """Open a workspace of this program's format.

        Raises WorkspaceMissing, WorkspaceTooNew or WorkspaceTooOld, each with what to do.
        """
        workspace = cls.locate(location)
        found = workspace._known_format()
        if found < migrations.FORMAT:
            raise WorkspaceTooOld(
                f"{location} has format {found}, this flywheel writes {migrations.FORMAT}; run `flywheel migrate`"
            )
        return workspace

    @classmethod
    def locate(cls, location: str) -> Workspace:
        """Find a workspace of any format (for `flywheel migrate`).

        Raises WorkspaceMissing, or UsageError for a place that cannot be read.
        """
        workspace = cls(location)
        if not workspace._exists():
            raise WorkspaceMissing(f"no workspace at {location}; run `flywheel init -w {shlex.quote(location)}`")
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
        """Raises FlywheelError when the file that says it is missing or damaged."""
        try:
            return int(json.loads(self.store.read(_FORMAT))["format"])
        except (FileNotFoundError, ValueError, KeyError, TypeError) as error:
            raise FlywheelError(
                f"{self.location}/{_FORMAT} is missing or damaged: this is no whole workspace; put the file back "
                f'from a copy (a workspace that this flywheel made has {{"format": {migrations.FORMAT}}} in it)'
            ) from error

    @cached_property
    def config(self) -> WorkspaceConfig:
        """Raises UsageError naming what is wrong in `flywheel.toml`."""
        where = f"{self.uri}/{CONFIG}"
        try:
            return parse_config(self.store.read(CONFIG).decode(), where)
        except UnicodeDecodeError as error:
            raise UsageError(f"{where} is not UTF-8 text") from error

    def migrate(self, *, dry_run: bool) -> list[str]:
        """Apply what is pending; returns the changes, a line each.

        Raises WorkspaceTooNew for what a newer program wrote.
        """
        changes: list[str] = []
        for migration in migrations.pending(self._known_format()):
            changes += migrations.describe(self.tables, migration)
            if not dry_run:
                migrations.apply(self.tables, migration)
                self._write_format(migration.number)
        return changes

    def query(self, sql: str, views: Views | None = None, **arrow: pa.Table) -> pa.Table:
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

    def _exists(self) -> bool:
        try:
            return self.store.exists(CONFIG)
        except OSError as error:
            raise UsageError(f"{self.location} cannot be read: {error.strerror or error}") from error

    def _make_folders(self) -> None:
        if not self.is_local:
            return
        try:
            for folder in ("tables", "views"):
                os.makedirs(self.path / folder, exist_ok=True)
        except OSError as error:
            raise UsageError(f"{self.location} cannot be made a workspace: {error.strerror}") from error

    def _known_format(self) -> int:
        found = self.format
        if found > migrations.FORMAT:
            raise WorkspaceTooNew(
                f"{self.location} has format {found}, this flywheel reads up to {migrations.FORMAT}; "
                "install a newer flywheel"
            )
        return found

    def _write_format(self, number: int) -> None:
        self.store.write_new(_FORMAT, json.dumps({"format": number}).encode())
