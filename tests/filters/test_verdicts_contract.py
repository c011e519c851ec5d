"""Every bundled policy can be asked of the real view over the real score tables."""

from __future__ import annotations

import duckdb
import pytest

from filters.funnel import funnel_sql
from filters.policy import PROFILES, bundled
from filters.scorers import SCORERS
from filters.scores_view import judged_views
from filters.verdicts import verdicts_sql
from flywheel.schemas import TABLES


@pytest.mark.parametrize("profile", PROFILES)
def test_rules_name_columns_that_exist(profile: str) -> None:
    columns = {name: scorer.columns for name, scorer in SCORERS.items()}
    versions = {name: scorer.version for name, scorer in SCORERS.items()}
    views = judged_views(bundled(profile), columns, versions)
    with duckdb.connect() as connection:
        for spec in (*TABLES.values(), *(scorer.table for scorer in SCORERS.values())):
            connection.register(spec.name, spec.schema.empty_table())
        connection.execute(f"CREATE VIEW scores AS {views['scores']}")
        for sql in (verdicts_sql(bundled(profile)), funnel_sql(bundled(profile))):
            assert connection.sql(sql).fetchall() == []
