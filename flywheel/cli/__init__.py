"""The command line. Commands import what they need when they run, so that `--help` answers at once."""

from __future__ import annotations

import sys

from flywheel.errors import FlywheelError, UsageError

PARTS = ("flywheel", "pipelines", "captioners", "filters", "retrieval", "model", "dashboards")
_INTERRUPTED = "interrupted; start the same command again to go on"
_INTERRUPTED_CODE = 130  # 128 + SIGINT, as shells count


def main() -> None:
    """Entry point of the `flywheel` command: one clear line for every error a user can mend."""
    try:
        check_parts()
        sys.exit(_run())
    except FlywheelError as error:
        print(f"flywheel: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print(f"flywheel: {_INTERRUPTED}", file=sys.stderr)
        sys.exit(_INTERRUPTED_CODE)


def _run() -> int:
    """Parse and run; returns the exit code. Not in typer's standalone mode, which draws a box around usage errors.

    Raises FlywheelError, and UsageError in place of typer's own.
    """
    from typer import Abort
    from typer.exceptions import TyperException

    from flywheel.cli.app import app

    try:
        code = app(standalone_mode=False)
    except Abort as error:
        raise FlywheelError("not confirmed, nothing was changed") from error
    except TyperException as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # typer has printed the help already
            return error.exit_code
        raise UsageError(f"{' '.join(error.format_message().split()).rstrip('.')} (see --help)") from error
    if code == _INTERRUPTED_CODE:  # typer turns Ctrl-C into this code
        raise KeyboardInterrupt
    return int(code or 0)


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
