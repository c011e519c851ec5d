"""Sources: every place that images can come from, read as one stream of `SourceItem`.

A new kind of source is one file and one line in `SOURCES`. Which reader serves is decided by what the
place is (its bytes, its files), in the order of the dict; the last two take whatever is left.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

from flywheel.errors import SourceError
from flywheel.records import SourceItem
from flywheel.workspace.places import canonical_uri, file_uri, is_local, local_path
from flywheel.workspace.storage import describe
from pipelines.sources import folder, hf_dataset, tabular, tars
from pipelines.sources.items import Place, Source, SourceLimits, read_head, stem_of

__all__ = ["SOURCES", "Source", "SourceLimits", "open_source"]

SOURCES: Mapping[str, Source] = {
    "hf_dataset": Source(says="Hugging Face `datasets` on disk", matches=hf_dataset.matches, read=hf_dataset.read),
    "folder": Source(says="a folder or object-store prefix", matches=folder.matches, read=folder.read),
    "tar": Source(says="a WebDataset tar, plain or gz", matches=tars.matches, read=tars.read),
    "parquet": Source(says="a Parquet listing", matches=tabular.matches_parquet, read=tabular.read_parquet),
    "jsonl": Source(says="a JSONL listing", matches=tabular.matches_jsonl, read=tabular.read_jsonl),
    "csv": Source(says="a CSV or TSV listing", matches=tabular.matches_csv, read=tabular.read_csv),
    "file": Source(says="a single file", matches=folder.matches_file, read=folder.read_file),
}


def open_source(text: str, limits: SourceLimits | None = None) -> Iterator[SourceItem]:
    """The items of a source in a fixed order, streamed; no bytes of referenced images are read.

    `text` is a local path, a file:// or s3:// URI. The data set is named by `limits.dataset`, else after the source
    without its suffixes. Raises SourceError when there is nothing that can be listed, either at the call or,
    for a listing that turns out to be unusable, at the first item.
    """
    place = _place(text, limits or SourceLimits())
    source = next(source for source in SOURCES.values() if source.matches(place))
    return _listed(text, source.read(place))


def _listed(text: str, items: Iterator[SourceItem]) -> Iterator[SourceItem]:
    try:
        yield from items
    except OSError as error:
        raise SourceError(f"{text} stopped answering while it was listed: {error}") from error


def _place(text: str, limits: SourceLimits) -> Place:
    if text.startswith(("http://", "https://")):
        raise SourceError(f"{text} is a URL: put URLs into a JSONL, CSV or Parquet listing")
    uri = canonical_uri(text)
    if is_local(uri):
        # One identity for a file, by whatever path it was reached.
        uri = file_uri(os.path.realpath(local_path(uri)))
    try:
        stored = describe(uri)
        head = b"" if stored.is_folder else read_head(uri)
    except OSError as error:
        raise SourceError(f"{text} cannot be read: {error.strerror or error}") from error
    return Place(stored=stored, dataset=limits.dataset or stem_of(uri), limits=limits, head=head)
