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
    """(the facts of a scaled view, the shapes of a native and a luma view, peak RSS), or what failed."""
    from flywheel.images.decode import luma_view, native_view, scaled_view

    small, whole, grey = (make(item, context) for make in (scaled_view, native_view, luma_view))
    return (
        small if isinstance(small, Failure) else small.facts,
        whole if isinstance(whole, Failure) else whole.rgb.shape,
        grey if isinstance(grey, Failure) else grey.luma.shape,
        peak_rss_bytes(),
    )


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
