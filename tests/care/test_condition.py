"""`--where`: one condition, parsed by DuckDB, written back by DuckDB."""

from __future__ import annotations

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flywheel.errors import QueryRefused
from flywheel.workspace.condition import images_where


@pytest.mark.parametrize(
    "text",
    [
        "true) OR (true",
        "entropy < 1) UNION SELECT image_id, 1 FROM (sources",
        "true; SELECT 1",
        "true; DROP TABLE images",
        "true GROUP BY image_id",
        "true LIMIT 1",
        "true UNION SELECT 'x', 1",
        "image_id IN (SELECT image_id FROM images)",
        "EXISTS (FROM read_text('/etc/passwd'))",
        "uri = (SELECT content FROM read_text('/etc/passwd'))",
        "row_number() OVER () = 1",
        "uri = $1",
        "",
        "(true",
    ],
)
def test_refuses_what_is_not_one_condition(text: str) -> None:
    with pytest.raises(QueryRefused):
        images_where(text)


@pytest.mark.parametrize(
    "text",
    [
        "dataset = 'private' AND luma_mean < 0.2",
        "uri LIKE '%/holiday/%' -- the ones from May",
        "caption ILIKE '%)%' OR licence IS NULL",
        "width_px BETWEEN 1 AND 2 OR format IN ('PNG', 'GIF')",
        "regexp_matches(uri, 'a(b|c)')",
    ],
)
def test_writes_back_one_select(text: str) -> None:
    [statement] = duckdb.connect().extract_statements(images_where(text))
    assert statement.type == duckdb.StatementType.SELECT


def test_comments_do_not_survive() -> None:
    assert "--" not in images_where("true --")


@settings(deadline=None, max_examples=60)
@given(st.text(alphabet="ab()'\";-= \n10/*", max_size=30))
def test_whatever_is_accepted_is_one_select_over_the_same_tables(text: str) -> None:
    try:
        sql = images_where(text)
    except QueryRefused:
        return
    assert sql.startswith("SELECT DISTINCT image_id, typeof(")
    assert "AS scores LEFT JOIN sources USING (image_id)) WHERE" in sql
    assert len(duckdb.connect().extract_statements(sql)) == 1
