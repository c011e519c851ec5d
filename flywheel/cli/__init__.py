"""The command line. Commands import what they need when they run, so that `--help` answers at once."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

from flywheel.cli.visible import visible
from flywheel.errors import FlywheelError, UsageError

PARTS = ("flywheel", "pipelines", "captioners", "filters", "retrieval", "model", "dashboards")
_INTERRUPTED = "interrupted; start the same command again to go on"
_INTERRUPTED_CODE = 130  # 128 + SIGINT, as shells count
_DEBUG = "FLYWHEEL_DEBUG"
_OF_THE_ENGINE = (
    "ray",
    "pandas",
    "prefect",
    "lancedb",
    "rapidocr",
    "onnxruntime",
)  # what a trainer's machine does without


def main() -> None:
    """Entry point of the `flywheel` command: one line for every error, the full stack too where FLYWHEEL_DEBUG is set."""
    try:
        check_parts()
        code = _run()
        sys.stdout.flush()
        sys.exit(code)
    except SystemExit:
        raise
    except FlywheelError as error:
        _end(str(error), error.exit_code)
    except KeyboardInterrupt:
        _end(_INTERRUPTED, _INTERRUPTED_CODE)
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] not in _OF_THE_ENGINE:
            raise
        _end(f"this needs {error.name}, which is not installed: pip install 'flywheel-t2i[engine]'", 1)
    except BrokenPipeError:  # whoever read our output has seen enough; nothing is left to flush at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except BaseException as error:  # a panic of native code is no Exception
        if os.environ.get(_DEBUG):
            import traceback

            traceback.print_exception(error)
        _end(f"unexpected {type(error).__name__}: {error or 'nothing more is known'} ({_DEBUG}=1 shows where)", 1)


def _end(said: str, code: int) -> NoReturn:
    print(f"flywheel: {visible(' '.join(said.split()), keep='')}", file=sys.stderr)
    sys.exit(code)


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
