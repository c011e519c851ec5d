"""What the sandbox tests run in the child; imported there by name."""

import os
import time
from pathlib import Path

from flywheel.records import Failure


def peak_rss_bytes() -> int:
    """Of this process image alone; ru_maxrss would remember the parent's across exec."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM"))


def view(item, context):
    """(what a scaled view says, what a native view says, peak RSS), each without its pixels."""
    from flywheel.images.decode import native_view, scaled_view

    views = [make(item, context) for make in (scaled_view, native_view)]
    said = [one if isinstance(one, Failure) else (one.facts, one.rgb.shape) for one in views]
    return (*said, peak_rss_bytes())


def native_pixels(item, context):
    from flywheel.images.decode import native_view

    return native_view(item, context)


def act(item, context):
    """Does what the item says, or gives it back beside the context."""
    match item:
        case "exit":
            os._exit(3)
        case "segfault":
            os.kill(os.getpid(), 11)
        case "eat":
            hoard = []
            while True:
                hoard.append(bytearray(64 << 20))
        case "memory error":
            raise MemoryError
        case "sleep":
            time.sleep(3600)
        case "spin":
            while True:
                pass
        case "raise":
            raise KeyError("an odd row")
        case "unpicklable":
            return lambda: None
        case "pid":
            return os.getpid()
        case "large":
            return bytes(20 << 20)
        case ("nap", float(nap_s)):
            time.sleep(nap_s)
    return (item, context)


_served = 0


def tires(item, context):
    """Dies of accumulated state: at the third item of each process, whichever it is."""
    global _served
    _served += 1
    if _served == 3:
        os._exit(1)
    return item


def pid(item, context):
    return os.getpid()


def interrupted(item, context):
    import signal

    os.kill(os.getpid(), signal.SIGINT)
    return item


def environment(item, context):
    import resource

    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    limits = [resource.getrlimit(kind)[0] for kind in (resource.RLIMIT_AS, resource.RLIMIT_CORE)]
    return [*(os.environ[name] for name in names), *limits]
