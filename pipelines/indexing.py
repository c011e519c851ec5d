"""Index: bring the LanceDB index up to the tables, or build it again; say how far behind it is.

The index holds what can be told again from `embeddings`, `captions` and `sources`. It records the table versions that it
reflects, so that a search can say what it does not know yet.
"""

from __future__ import annotations

import fcntl
import json
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from flywheel.errors import AnotherDriver, UsageError
from flywheel.workspace import Workspace, runs
from pipelines.engine import Progress, StepReport, batched, conserve
from retrieval.texts import TextIndex, digest
from retrieval.vectors import VectorIndex

STEP = "index"
LAW = ("added", "kept")
FOLDER, STATE = "index", "state.json"
_AT_ONCE = 4096
# Every text of an image is one document: its captions, and the one that came with it.
_TEXTS = """
SELECT image_id, string_agg(text, chr(10) ORDER BY kind, text) AS text FROM (
    SELECT image_id, kind, text FROM captions WHERE text IS NOT NULL
    UNION ALL SELECT i.image_id, 'raw', s.caption FROM images i JOIN sources s ON s.source_id = i.source_id
    WHERE trim(s.caption) <> '')
SEMI JOIN images USING (image_id) GROUP BY image_id ORDER BY image_id
"""


def folder_of(workspace: Workspace) -> Path:
    """Raises UsageError for a workspace in an object store: an index is a local thing."""
    if not workspace.is_local:
        raise UsageError("the index is kept beside local workspaces; copy the tables here to search them")
    return workspace.path / FOLDER


def index(workspace: Workspace, progress: Progress, *, rebuild: bool = False) -> StepReport:
    """Add what is new, replace what changed, drop what is gone. Nothing new starts no run.

    Raises AnotherDriver where somebody else is indexing, UsageError for a workspace that is not local.
    """
    folder = folder_of(workspace)
    if rebuild:
        with _alone(folder):
            for path in folder.iterdir():
                if path.suffix == ".lance":
                    shutil.rmtree(path)
            (folder / STATE).unlink(missing_ok=True)
    behind = _versions(workspace)
    if not rebuild and _state(folder) == behind:
        return StepReport(STEP, None, {})
    with _alone(folder):
        run = runs.start(workspace, STEP)
        counts: Counter[str] = Counter()
        with run.recorded(counts):
            counts.update(_texts(workspace, folder, progress))
            run.heartbeat()
            counts.update(_vectors(workspace, folder, progress))
            conserve(STEP, counts, LAW)
            (folder / STATE).write_text(json.dumps(behind), encoding="utf-8")
        run.end("finished", counts)
    return StepReport(STEP, run.run_id, dict(counts))


def upkeep(workspace: Workspace) -> dict[str, int]:
    """Bring an index that is there up to the tables, so that nothing forgotten stays in it; counts as `index` counts.

    Does nothing where there is none, or where somebody else is at it.
    """
    if not workspace.is_local or not (workspace.path / FOLDER).exists():
        return {}
    with suppress(AnotherDriver):
        return dict(index(workspace, lambda *_: None).counts)
    return {}


def lag(workspace: Workspace) -> Mapping[str, int]:
    """Commits to each table that the index does not reflect yet; empty where it is up to date."""
    known = _state(folder_of(workspace))
    return {name: at - known.get(name, 0) for name, at in _versions(workspace).items() if at != known.get(name, 0)}


def _texts(workspace: Workspace, folder: Path, progress: Progress) -> Counter[str]:
    rows = workspace.query(_TEXTS).to_pylist()
    held, texts = TextIndex(str(folder)), {row["image_id"]: row["text"] for row in rows}
    there = held.digests()
    new = [one for one, text in texts.items() if there.get(one) != digest(text)]
    for number, some in enumerate(batched(new, _AT_ONCE), 1):
        held.put(some, [texts[one] for one in some])
        progress("index texts", min(number * _AT_ONCE, len(new)), len(new), {})
    gone = there.keys() - texts.keys()
    held.delete(gone)
    held.finish()
    return Counter({"in": len(texts), "added": len(new), "kept": len(texts) - len(new), "gone": len(gone)})


def _vectors(workspace: Workspace, folder: Path, progress: Progress) -> Counter[str]:
    counts: Counter[str] = Counter()
    models = workspace.query(
        "SELECT model_id, len(any_value(vector)) AS dims FROM embeddings WHERE subject_kind = 'image' GROUP BY 1 ORDER BY 1"
    ).to_pylist()
    for model in models:
        held = VectorIndex(str(folder), model["model_id"], model["dims"])
        there = held.ids()
        wanted = workspace.query(
            "SELECT DISTINCT subject_id FROM embeddings SEMI JOIN images ON image_id = subject_id "
            f"WHERE subject_kind = 'image' AND model_id = '{model['model_id']}' ORDER BY 1"
        )["subject_id"].to_pylist()
        new = [one for one in wanted if one not in there]
        for number, some in enumerate(batched(new, _AT_ONCE), 1):
            held.put(*_read(workspace, model["model_id"], some))
            progress("index vectors", min(number * _AT_ONCE, len(new)), len(new), {})
        gone = there - set(wanted)
        held.delete(gone)
        held.finish()
        counts.update({"in": len(wanted), "added": len(new), "kept": len(wanted) - len(new), "gone": len(gone)})
    return counts


def _read(workspace: Workspace, model_id: str, ids: Sequence[str]) -> tuple[list[str], Any]:
    rows = workspace.query(
        "SELECT subject_id, any_value(vector) AS vector FROM embeddings SEMI JOIN wanted ON subject_id = id "
        f"WHERE subject_kind = 'image' AND model_id = '{model_id}' GROUP BY 1 ORDER BY 1",
        wanted=pa.table({"id": pa.array(ids, pa.string())}),
    )
    vectors = np.array(rows["vector"].to_pylist(), dtype=np.float32)
    return rows["subject_id"].to_pylist(), vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _versions(workspace: Workspace) -> dict[str, int]:
    return {name: workspace.tables.latest(name) for name in ("captions", "embeddings", "images", "sources")}


def _state(folder: Path) -> dict[str, int]:
    try:
        read = json.loads((folder / STATE).read_text(encoding="utf-8"))
        return {str(name): int(at) for name, at in read.items()}
    except (OSError, ValueError):
        return {}


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One writer of the index at a time; a killed one lets go by itself."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".writer").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise AnotherDriver("somebody else is indexing this workspace") from error
        yield
