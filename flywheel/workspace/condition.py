"""People's conditions (`--where`), parsed before they are used.

DuckDB's own parser has to show that the text is one expression; the SQL that runs afterwards is written
by DuckDB from that parse, so no comment, bracket or second statement of the text survives.
"""

from __future__ import annotations

import json
from typing import Any

import duckdb

from flywheel.errors import QueryRefused

# What `scores` repeats of the sighting that brought an image in is asked of all its sightings.
_FROM = "(SELECT * EXCLUDE (dataset, licence, caption) FROM scores) AS scores LEFT JOIN sources USING (image_id)"
_REFUSED_NODES = {
    "SUBQUERY": "a subquery",
    "PARAMETER": "a parameter",
    "WINDOW": "a window function",
    "STAR": "a star",
}


def images_where(condition: str) -> str:
    """The SELECT of `image_id` and `kind` (the condition's type) over the views and tables scores and sources.

    Raises QueryRefused for anything but one expression without subqueries.
    """
    with duckdb.connect() as connection:
        # Text that closes our bracket parses only inside it; text that goes on after the condition only outside.
        bare = _parse(connection, condition, condition)
        if _unplaced(bare) != _unplaced(_parse(connection, f"(\n{condition}\n)", condition)):
            raise _refuse(condition, "it is more than one condition")
        for node in _nodes(bare["where_clause"]):
            if node.get("class") in _REFUSED_NODES:
                raise _refuse(condition, f"{_REFUSED_NODES[node['class']]} is not allowed in it")
        return str(_answer(connection, "SELECT json_deserialize_sql(?::JSON)", json.dumps(_typed(connection, bare))))


def _parse(connection: duckdb.DuckDBPyConnection, where: str, condition: str) -> dict[str, Any]:
    text = f"SELECT DISTINCT image_id, 1 AS kind FROM {_FROM} WHERE {where}"
    parsed = json.loads(_answer(connection, "SELECT json_serialize_sql(?::VARCHAR)", text))
    if parsed["error"]:
        raise _refuse(condition, parsed["error_message"])
    if len(parsed["statements"]) != 1:
        raise _refuse(condition, "it is more than one statement")
    node: dict[str, Any] = parsed["statements"][0]["node"]
    if node["type"] != "SELECT_NODE":
        raise _refuse(condition, "it is more than one condition")
    return node


def _typed(connection: duckdb.DuckDBPyConnection, node: dict[str, Any]) -> dict[str, Any]:
    """The statement with `kind` made the type of its own condition: a number is no condition."""
    example = _answer(connection, "SELECT json_serialize_sql(?::VARCHAR)", "SELECT typeof(x) AS kind")
    kind = json.loads(example)["statements"][0]["node"]["select_list"][0]
    kind["arguments"][0]["expression"] = node["where_clause"]
    statement = {**node, "select_list": [node["select_list"][0], kind]}
    return {"error": False, "statements": [{"node": statement, "named_param_map": []}]}


def _answer(connection: duckdb.DuckDBPyConnection, sql: str, value: str) -> Any:
    found = connection.execute(sql, [value]).fetchone()
    assert found is not None
    return found[0]


def _unplaced(value: Any) -> Any:
    """A parse without its positions in the text."""
    if isinstance(value, dict):
        return {name: _unplaced(part) for name, part in value.items() if not name.startswith("query_location")}
    return [_unplaced(part) for part in value] if isinstance(value, list) else value


def _nodes(value: Any) -> list[dict[str, Any]]:
    if isinstance(value, dict):
        return [value, *(node for part in value.values() for node in _nodes(part))]
    return [node for part in value for node in _nodes(part)] if isinstance(value, list) else []


def _refuse(condition: str, why: str) -> QueryRefused:
    return QueryRefused(f"not a condition: {' '.join(condition.split())[:200]!r}: {' '.join(why.split())}")
