"""Speed, memory and scale against the limits we set ourselves, and against peers on the same files."""

import os

from flywheel.images.process import ENVIRONMENT

# What is measured in process is what a worker's child does: on one thread. Read when numpy is first imported.
os.environ.update(ENVIRONMENT)
