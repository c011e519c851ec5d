"""Hugging Face datasets as `save_to_disk` leaves them, read as Arrow streams without importing `datasets`.

One folder is one split (state.json names its Arrow files); a folder with dataset_dict.json holds several.
Names in these files must be plain names: a data set from elsewhere cannot lead out of its folder.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pyarrow as pa

from flywheel.errors import SourceError
from flywheel.records import Locator, SourceItem
from flywheel.workspace.storage import StoredObject, describe, open_uri, read_locator
from pipelines.sources.items import Place, child_uri
from pipelines.sources.tabular import columns_of_schema, items_of_batches

_MAX_STATE_BYTES = 16 << 20


def matches(place: Place) -> bool:
    """A folder that says so itself."""
    if not place.is_folder:
        return False
    names = ("dataset_dict.json",), ("state.json", "dataset_info.json")
    return any(all(_described(place.uri, name) for name in together) for together in names)


def read(place: Place) -> Iterator[SourceItem]:
    """Rows of every split in the order written. Raises SourceError where the folder does not hold together."""
    if _described(place.uri, "dataset_dict.json"):
        for split in _names(place.uri, "dataset_dict.json", _json(place.uri, "dataset_dict.json").get("splits")):
            yield from _split(place, child_uri(place.uri, split))
    else:
        yield from _split(place, place.uri)


def _split(place: Place, folder_uri: str) -> Iterator[SourceItem]:
    entries = _json(folder_uri, "state.json").get("_data_files")
    listed = (
        [entry.get("filename") for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else None
    )
    for name in _names(folder_uri, "state.json", listed):
        stored = _described(folder_uri, name)
        if stored is None:
            raise SourceError(f"{folder_uri}/state.json names {name}, which is not there")
        yield from _arrow_file(replace(place, stored=stored))


def _arrow_file(place: Place) -> Iterator[SourceItem]:
    with open_uri(place.uri) as stream:
        try:
            reader = pa.ipc.open_stream(stream)
        except (pa.ArrowException, OSError) as error:
            raise SourceError(f"{place.uri} is not an Arrow stream: {error}") from error
        columns = columns_of_schema(reader.schema)
        if not columns:
            raise SourceError(f"{place.uri} has no image column: found {', '.join(reader.schema.names[:12])}")
        yield from items_of_batches(place, columns, iter(reader), place.limits.batch_inline_rows)


def _described(folder_uri: str, name: str) -> StoredObject | None:
    try:
        stored = describe(child_uri(folder_uri, name))
    except (FileNotFoundError, NotADirectoryError):
        return None
    return None if stored.is_folder else stored


def _json(folder_uri: str, name: str) -> dict[str, Any]:
    stored = _described(folder_uri, name)
    if stored is None or stored.size > _MAX_STATE_BYTES:
        raise SourceError(f"{folder_uri}/{name} is missing or larger than {_MAX_STATE_BYTES} bytes")
    try:
        parsed = json.loads(read_locator(Locator(uri=stored.uri)))
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{stored.uri} is not JSON: {error}") from error
    if not isinstance(parsed, dict):
        raise SourceError(f"{stored.uri} is not a JSON object")
    return parsed


def _names(folder_uri: str, file_name: str, listed: Any) -> list[str]:
    if not isinstance(listed, list) or not all(isinstance(name, str) for name in listed):
        raise SourceError(f"{folder_uri}/{file_name} does not list names")
    for name in listed:
        if not name or "/" in name or "\\" in name or "\0" in name or name in (".", ".."):
            raise SourceError(f"{folder_uri}/{file_name} lists {name!r}, which is not a plain name")
    return listed
