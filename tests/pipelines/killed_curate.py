"""`flywheel ARGUMENTS…` with a log of what its workers begin: python killed_curate.py LOG ARGUMENTS…

The log has a line a micro-batch: the function that the child runs, and how many items it was given.
"""

import sys
from dataclasses import replace
from functools import partial

import executor_tasks  # beside this file

from flywheel.cli import main
from pipelines.executors.local import LocalExecutor
from pipelines.executors.ray_data import RayExecutor


def watch(executor, log):
    plain = executor.map

    def watched(self, task, batches, on_wait):
        around = partial(executor_tasks.counted, log=log, name=task.item, inner=task.around)
        return plain(self, replace(task, around=around), batches, on_wait)

    executor.map = watched


if __name__ == "__main__":  # Ray's workers import what their tasks name, never this
    for kind in (LocalExecutor, RayExecutor):
        watch(kind, sys.argv[1])
    sys.argv[:2] = ["flywheel"]
    main()
