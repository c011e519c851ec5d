"""What the executor tests run in workers; imported there by name."""

import os
import signal
import time
from pathlib import Path

from flywheel.errors import SourceError


def act(item, context):
    match item:
        case "exit":
            os._exit(3)
        case "sleep":
            time.sleep(3600)
        case "raise":
            raise KeyError("an odd row")
    return (item, context)


def logged(items, sandbox, folder):
    """Notes that the micro-batch was begun, then lets the child answer."""
    with (Path(folder) / "begun.txt").open("a") as log:
        log.write(f"{items[0]}\n")
    return list(sandbox.run(items))


def dies_once(items, sandbox, folder):
    """The third micro-batch kills its worker the first time."""
    mark = Path(folder) / f"killed{items[0]}"
    if items[0] == 2 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return list(sandbox.run(items))


def refuses(items, sandbox):
    raise SourceError("said by a worker")


def breaks(items, sandbox):
    raise ValueError("a bug\nwith a second line")


def fails_twice(items, sandbox, folder):
    """The second micro-batch meets a bad disk two times."""
    marks = len(list(Path(folder).glob("failed*")))
    if items[0] == 1 and marks < 2:
        (Path(folder) / f"failed{marks}").touch()
        raise OSError("disk hiccup")
    return list(sandbox.run(items))


def memory(item, context):
    """(RSS of the child, RSS of the process that holds it), in bytes."""
    from flywheel.images import process  # what a worker needs anyway

    assert process
    return tuple(_rss(pid) for pid in (os.getpid(), os.getppid()))


def _rss(pid):
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmRSS"))


def counted(items, sandbox, log, name, inner):
    """Notes how many items a worker began with, then works them as the task itself would."""
    with Path(log).open("a") as file:
        file.write(f"{name} {len(items)}\n")
    return inner(items, sandbox) if inner else list(sandbox.run(items))
