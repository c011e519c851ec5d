"""The output folder of img2dataset, recognised by its `NNNNN_stats.json` files.

Each shard NNNNN leaves a Parquet of one row per URL beside `NNNNN.tar` (webdataset) or the folder `NNNNN`
(files); there the Parquet is not a second listing of the same images. Only its rows of failed downloads
count, each as refused `missing` with img2dataset's own status. Where neither is present (parquet format) the
Parquet holds the bytes and is read whole.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from flywheel.records import SourceItem
from pipelines.sources import tabular
from pipelines.sources.items import Place

_STATS = re.compile(rb"(\d+)_stats\.json")


def shards_of(names: Collection[bytes]) -> frozenset[bytes]:
    """The shard numbers of a folder's names; empty for a folder that is not img2dataset's."""
    found = (_STATS.fullmatch(name) for name in names)
    return frozenset(match[1] for match in found if match and match[1] + b".parquet" in names)


def is_stats(name: bytes) -> bool:
    return _STATS.fullmatch(name) is not None


def read_parquet(place: Place, names: Collection[bytes], shard: bytes) -> Iterator[SourceItem]:
    """Items of one shard's Parquet; `names` are the files and folders beside it."""
    if shard + b".tar" in names or shard in names:
        yield from (item for item in tabular.read_parquet(place) if item.refused is not None)
    else:
        yield from tabular.read_parquet(place)
