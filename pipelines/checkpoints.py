"""Checkpoints: folders of weights under an id of their content, so that a figure belongs to what it was measured on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from itertools import chain, count
from pathlib import Path

import pyarrow as pa

from flywheel.errors import UsageError
from flywheel.schemas import TABLES
from flywheel.seeds import stable_hash
from flywheel.sums import sha256_of
from flywheel.workspace import Workspace, runs

STEP = "checkpoint"
BUNDLED = "bundled"
_WEIGHTS = (".safetensors", ".json")
_PARTS = ("transformer", "vae", "text_encoder", "scheduler")


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """`place`: a folder as diffusers has them. `autoencoder_id`: of the decoder and encoder alone.

    `parent_id`: what it went on from; `snapshot_id`: what it was trained on. Empty where that is not known.
    """

    checkpoint_id: str
    name: str
    place: str
    autoencoder_id: str
    parent_id: str = ""
    snapshot_id: str = ""
    recipe_json: str = "{}"

    @property
    def folder(self) -> Path:
        return Path(self.place)


def checkpoint_named(workspace: Workspace, name: str) -> Checkpoint:
    """The bundled one, a folder, or one that the workspace knows by name or by how its id begins.

    A folder that is new is written down. Raises UsageError where there is none, or several.
    """
    if name == BUNDLED:
        from model.bundled import NAME, bundled_model

        return _known(workspace, _of_folder(bundled_model(), NAME))
    if Path(name, "model_index.json").is_file():
        return _known(workspace, _of_folder(Path(name).resolve(), _called(Path(name).resolve())))
    found = [one for one in checkpoints(workspace) if one.name == name or one.checkpoint_id.startswith(name)]
    if len(found) != 1:
        what = "no checkpoint" if not found else f"{len(found)} checkpoints are called"
        raise UsageError(f"{what} {name!r}: give {BUNDLED}, a folder with a model_index.json, or a known one's id")
    return found[0]


def checkpoint_served(workspace: Workspace, name: str, url: str) -> Checkpoint:
    """A model behind an endpoint: its name is all that is known of it."""
    checkpoint_id = stable_hash(["served", name], 32)
    known = _known(workspace, Checkpoint(checkpoint_id=checkpoint_id, name=name, place=url, autoencoder_id=""))
    return replace(known, name=name)  # it is asked for by the name that its server knows


def checkpoint_by_name(workspace: Workspace, name: str) -> str:
    """The id of one that the workspace knows by this name; else it is written down, with nothing known but its name."""
    known = [one.checkpoint_id for one in checkpoints(workspace) if one.name == name]
    return known[-1] if known else checkpoint_served(workspace, name, "").checkpoint_id


def checkpoints(workspace: Workspace) -> list[Checkpoint]:
    rows = workspace.query(
        "SELECT checkpoint_id, name, place, autoencoder_id, coalesce(parent_id, '') AS parent_id, "
        "coalesce(snapshot_id, '') AS snapshot_id, coalesce(recipe_json, '{}') AS recipe_json "
        'FROM checkpoints ORDER BY "at", checkpoint_id'
    )
    return [Checkpoint(**row) for row in rows.to_pylist()]


def checkpoint_trained(
    workspace: Workspace, folder: Path, *, parent: str, snapshots: Sequence[str], recipe: str
) -> Checkpoint:
    """Weights that came of snapshots of this workspace: from then on it is known what they were shown.

    `parent`: the id of what they went on from, empty for new weights.
    """
    found = _of_folder(folder.resolve(), _called(folder.resolve()))
    shown = {"parent_id": parent, "snapshot_id": " ".join(snapshots), "recipe_json": recipe}
    known = _known(workspace, replace(found, **shown))
    if not known.snapshot_id:  # it was examined before anybody said where it came from
        row = {"checkpoint_id": known.checkpoint_id, **shown}
        workspace.tables.update_rows("checkpoints", [row], key="checkpoint_id", run_id=STEP)
    return replace(known, **shown)


def shown_in_training(workspace: Workspace, checkpoint_id: str) -> list[str] | None:
    """Every snapshot that a checkpoint or what it went on from was trained on; None where some of it is not known."""
    known = {one.checkpoint_id: one for one in checkpoints(workspace)}
    found: list[str] = []
    while checkpoint_id:
        one = known.get(checkpoint_id)
        if one is None or not one.snapshot_id:
            return None
        found += one.snapshot_id.split()
        checkpoint_id = one.parent_id
    return found


def _called(folder: Path) -> str:
    """A run's model by its run."""
    return folder.parent.name if folder.name == "model" else folder.name


def _of_folder(folder: Path, name: str) -> Checkpoint:
    sums = {part: _sums(folder / part) for part in _PARTS}
    return Checkpoint(
        checkpoint_id=stable_hash(sums, 32), name=name, place=str(folder), autoencoder_id=stable_hash(sums["vae"], 32)
    )


def _sums(folder: Path) -> dict[str, str]:
    files = [path for path in sorted(folder.rglob("*")) if path.suffix in _WEIGHTS and path.is_file()]
    return {path.relative_to(folder).as_posix(): sha256_of(path) for path in files}


def _known(workspace: Workspace, checkpoint: Checkpoint) -> Checkpoint:
    """The same weights elsewhere are the same checkpoint: where they lie now counts. Others of its name get a number."""
    there = checkpoints(workspace)
    known = next((one for one in there if one.checkpoint_id == checkpoint.checkpoint_id), None)
    if known is not None:
        return replace(known, place=checkpoint.place)
    names = {one.name for one in there}
    numbered = (f"{checkpoint.name}-{number}" for number in count(2))
    name = next(one for one in chain([checkpoint.name], numbered) if one not in names)
    new = replace(checkpoint, name=name)
    run = runs.start(workspace, STEP, detail={"checkpoint": new.checkpoint_id})
    with run.recorded({}):
        row = asdict(new) | {"at": datetime.now(UTC).isoformat(timespec="seconds")}
        rows = pa.Table.from_pylist([row], schema=TABLES["checkpoints"].schema)
        workspace.tables.append("checkpoints", rows, run_id=run.run_id)
    run.end("finished", {"checkpoints": 1})
    return new
