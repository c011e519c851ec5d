"""Near duplicates: candidates by hash bands, a proof for each, groups derived from what was proven."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from filters import duplicates as matching
from filters.scorers import SCORERS
from flywheel.records import Status
from flywheel.schemas import TABLES
from flywheel.workspace import Workspace
from pipelines.engine import Progress, Settled, Step, StepReport, drive, outcome_rows
from pipelines.executors import Answers, Batch
from pipelines.executors.inline import InlineExecutor

STEP = "duplicates"
LAW = ("compared",)
_BATCH = 256
_CAP = 1_000  # our choice: members of one hash bucket that are compared with each other
