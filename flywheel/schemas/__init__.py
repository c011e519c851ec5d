"""Every core table."""

from __future__ import annotations

from collections.abc import Mapping

from flywheel.schemas import data, loop
from flywheel.schemas.spec import TableSpec as TableSpec
from flywheel.schemas.spec import score_spec as score_spec

TABLES: Mapping[str, TableSpec] = {spec.name: spec for spec in (*data.TABLES, *loop.TABLES)}
