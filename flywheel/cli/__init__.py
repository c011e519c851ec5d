"""The command line. Commands import what they need when they run, so that `--help` answers at once."""

from __future__ import annotations

import sys

from flywheel.errors import FlywheelError, UsageError

PARTS = ("flywheel", "pipelines", "captioners", "filters", "retrieval", "model", "dashboards")


def main() -> None:
    """Entry point of the `flywheel` command: one clear line for every error a user can mend."""
    try:
        check_parts()
        from flywheel.cli.app import app

        app()
    except FlywheelError as error:
        print(f"flywheel: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("flywheel: interrupted; start the same command again to go on", file=sys.stderr)
        sys.exit(130)


def check_parts() -> None:
    """Our parts are plain top-level packages: another `filters/` on sys.path would hide ours.

    Raises UsageError naming the package that stands in the way.
    """
    from importlib.util import find_spec
    from pathlib import Path

    home = Path(__file__).resolve().parents[2]
    for part in PARTS:
        spec = find_spec(part)
        where = Path(spec.origin).resolve().parents[1] if spec and spec.origin else None
        if where != home:
            raise UsageError(
                f"the package {part!r} comes from {where}, not from {home}: run from another folder, or in an environment of flywheel's own"
            )
