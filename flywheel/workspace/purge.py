"""Taking rows out of tables and out of their history.

A Delta delete only writes a newer version: the old files stay, and time travel reads them. Forgetting
therefore also removes every data file that still holds a forgotten id, including those that only old
versions refer to and those that a killed writer never committed. Versions that held the id cannot be
read afterwards; all others stay whole.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import PurePosixPath

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from flywheel.workspace import packs
from flywheel.workspace.tables import arrow_schema
from flywheel.workspace.workspace import Workspace

# The columns, in whatever table, that name an image or what belongs to one image alone.
_NAMES = ("image_id", "representative_id", "target_id", "a", "b", "subject_id", "source_id", "pair_id", "caption_id")
_LISTS = ("reference_ids",)
# Tombstones must go on naming what is forgotten; the sighting of an image that stays may since show another.
_KEPT_TABLES = frozenset({"tombstones"})
_KEPT_COLUMNS = frozenset({("images", "source_id")})
PLACED = ("images", "pictures")  # tables whose rows say where bytes lie
_OWNERS = {"pairs": "pair_id", "captions": "caption_id", "alignment": "caption_id"}


def belongings(workspace: Workspace, image_ids: Collection[str]) -> set[str]:
    """Ids of all that speaks of these images: sightings, pairs, captions, in every file of their tables.

    Sightings of the same place that ended without an image (a cut-off download) belong to it too.
    """
    wanted = pa.array(sorted(image_ids), pa.string())
    sightings = _columns(workspace, "sources", ("source_id", "uri", "image_id"))
    shown = sightings.filter(pc.is_in(sightings["image_id"], wanted))
    same_place = pc.is_in(sightings["uri"], shown["uri"].combine_chunks(), skip_nulls=True)
    failed = sightings.filter(pc.and_(pc.is_null(sightings["image_id"]), same_place))
    found = {*shown["source_id"].to_pylist(), *failed["source_id"].to_pylist()}
    for name, key in _OWNERS.items():
        rows = _columns(workspace, name, (key, *_NAMES, *_LISTS))
        found.update(rows.filter(_about(rows, wanted))[key].to_pylist())
    return found


def rows_about(workspace: Workspace, ids: Collection[str]) -> dict[str, int]:
    """How many rows of each table name one of the ids now; tables without any are left out."""
    counts = [
        f"SELECT '{name}' AS name, count(*) AS n FROM {name} WHERE {condition}"
        for name, _, condition in _conditions(workspace)
    ]
    told = workspace.query(" UNION ALL ".join(counts), forgotten=_id_table(ids)).to_pylist()
    return {row["name"]: row["n"] for row in told if row["n"]}


def delete_rows(workspace: Workspace, ids: Collection[str], *, run_id: str) -> None:
    """Delete the rows that name one of the ids from the newest versions, images first: what plans its
    work from `images` then plans nothing more about them. Idempotent."""
    holding = rows_about(workspace, ids)
    conditions = sorted(_conditions(workspace), key=lambda entry: (entry[0] != "images", entry[0]))
    for name, keys, condition in conditions:
        if name in holding:
            columns = ", ".join(keys)
            rows = workspace.query(f"SELECT DISTINCT {columns} FROM {name} WHERE {condition}", forgotten=_id_table(ids))
            workspace.tables.delete_keys(name, rows, run_id=run_id)


def files_about(workspace: Workspace, ids: Collection[str]) -> list[str]:
    """Data files (paths in the workspace) that no newest version refers to and that hold one of the ids."""
    wanted = pa.array(sorted(ids), pa.string())
    found = []
    for name in workspace.tables.names():
        if name in _KEPT_TABLES:
            continue
        current = {PurePosixPath(file).name for file in workspace.tables.open(name).file_uris()}
        for path in data_files(workspace, name):
            if PurePosixPath(path).name not in current:
                rows = read_columns(workspace, path, _watched(name, (*_NAMES, *_LISTS)))
                if pc.any(_about(rows, wanted)).as_py():
                    found.append(path)
    return found


def packs_about(workspace: Workspace, image_ids: Collection[str]) -> list[str]:
    """Packs (paths in the workspace) that hold the bytes of one of the images, referred to or not."""
    paths = [workspace.store.relpath_of(stored.uri) for stored in workspace.store.list("packs")]
    return [path for path in paths if not packs.members(workspace.store.uri_of(path)).keys().isdisjoint(image_ids)]


def rewrite_pack(workspace: Workspace, path: str, image_ids: Collection[str], *, run_id: str) -> None:
    """Replace a pack by one without the images: new pack, new locators in one commit, then the old one goes."""
    uri = workspace.store.uri_of(path)
    placed = packs.rewrite_without(workspace.store, uri, image_ids)
    for name in PLACED:
        here = workspace.query(f"SELECT image_id FROM {name} JOIN pack USING (uri)", pack=pa.table({"uri": [uri]}))
        moved = [
            {"image_id": image_id, "uri": at.uri, "member": at.member, "offset": at.offset, "length": at.length}
            for image_id in here["image_id"].to_pylist()
            if (at := placed.get(image_id)) is not None
        ]
        workspace.tables.update_rows(name, moved, key="image_id", run_id=run_id)
    workspace.store.delete(path)


def data_files(workspace: Workspace, name: str) -> list[str]:
    """Every Parquet file in a table's folder, whichever version refers to it, if any."""
    paths = (workspace.store.relpath_of(stored.uri) for stored in workspace.store.list(f"tables/{name}"))
    return [path for path in paths if path.endswith(".parquet") and "/_delta_log/" not in path]


def read_columns(workspace: Workspace, path: str, columns: Sequence[str]) -> pa.Table:
    """Those of the columns that a data file has. Raises FileNotFoundError."""
    with workspace.store.open(path) as stream:
        file = pq.ParquetFile(stream)
        rows = file.read(columns=[name for name in file.schema_arrow.names if name in columns])
    return rows.cast(pa.schema([field.with_type(_plain(field.type)) for field in rows.schema]))


def _plain(kind: pa.DataType) -> pa.DataType:
    """delta-rs writes views of text when it rewrites a file; here one type serves all files."""
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return pa.list_(_plain(kind.value_type))
    return pa.string() if pa.types.is_string_view(kind) or pa.types.is_large_string(kind) else kind


def _columns(workspace: Workspace, name: str, columns: Sequence[str]) -> pa.Table:
    schema = arrow_schema(workspace.tables.open(name))
    kept = [field for field in schema if field.name in columns]
    parts = [read_columns(workspace, path, columns) for path in data_files(workspace, name)]
    return pa.concat_tables([pa.schema(kept).empty_table(), *parts], promote_options="permissive")


def _about(rows: pa.Table, wanted: pa.Array) -> pa.ChunkedArray | pa.Array:
    """Which rows name one of the ids in any watched column."""
    hit = pa.repeat(pa.scalar(False), rows.num_rows)
    for name in rows.column_names:
        column = rows[name].combine_chunks()
        if name in _LISTS:
            parents = pc.list_parent_indices(column).filter(pc.is_in(pc.list_flatten(column), wanted))
            hit = pc.or_(hit, pc.is_in(pa.array(range(rows.num_rows), pa.int64()), parents.cast(pa.int64())))
        elif name in _NAMES:
            hit = pc.or_(hit, pc.is_in(column, wanted))
    return hit


def _watched(table: str, columns: Collection[str]) -> list[str]:
    return [name for name in columns if name in (*_NAMES, *_LISTS) and (table, name) not in _KEPT_COLUMNS]


def _conditions(workspace: Workspace) -> Iterator[tuple[str, list[str], str]]:
    """Table, the key columns that name its rows, and the condition that a row names a forgotten id."""
    for name in workspace.tables.names():
        schema = arrow_schema(workspace.tables.open(name))
        watched = _watched(name, schema.names)
        if name in _KEPT_TABLES or not watched:
            continue
        ids = "(SELECT id FROM forgotten)"
        terms = [
            f"list_has_any({column}, (SELECT list(id) FROM forgotten))" if column in _LISTS else f"{column} IN {ids}"
            for column in watched
        ]
        yield name, [column for column in watched if not schema.field(column).nullable], " OR ".join(terms)


def _id_table(ids: Collection[str]) -> pa.Table:
    return pa.table({"id": pa.array(sorted(ids), pa.string())})


def file_counts(paths: Sequence[str]) -> Mapping[str, int]:
    """Data files by table."""
    counts: dict[str, int] = {}
    for path in paths:
        counts[path.split("/")[1]] = counts.get(path.split("/")[1], 0) + 1
    return counts
