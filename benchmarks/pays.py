"""Does curated data pay? The bundled generator trains on, for equal steps, on what survives stage 1 and on what survives all six.

A world with planted faults (three in ten pictures degraded, marked, not for everybody, or with another's caption) is curated as
anybody's folder. Both arms begin with the same weights and see as many pictures; each snapshot brings the captions that were
written for its images beside those that came with them.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from benchmarks.figures import Figure, Findings
from flywheel.cli.export_commands import freeze_stage
from flywheel.workspace import Workspace
from model.bundled import bundled_model
from model.miniature import drawing_exam
from model.miniature.planted import IMAGES_FOLDER, render_world
from model.sample import ImageModel
from model.train.generator import MODEL, train_generator
from model.train.recipes import RECIPES
from pipelines.curate import curate
from pipelines.executors import executor
from pipelines.judging import init_workspace
from pipelines.training import offered_by_snapshot

PICTURES, STEPS, STAGES = 900, 120, (1, 6)
NUMBER, ROLE, LEVELS = 128, "report", ("L1", "L2", "L3")
_RATE = 0.25  # of the recipe's: nothing is learned anew


def run(place: Path) -> Findings:
    """Shares of prompts drawn wholly right, by arm; the figure is their mean over levels, all stages less the first."""
    workspace = _curated(place)
    table: dict[str, dict[str, float]] = {"before": _drawn(ImageModel.load_pretrained(bundled_model()))}
    for stage in STAGES:
        found = freeze_stage(workspace, stage, "")
        table[f"stage {stage}: {found.images} images"] = _drawn(_trained(place, workspace, found.snapshot_id, stage))
    first, last = (sum(row.values()) / len(LEVELS) for row in list(table.values())[1:])
    figure = Figure(name="drawn right, data of all six stages less data of stage 1", measured=last - first, unit="")
    head = [f"| trained on | {' | '.join(LEVELS)} |", "|---" * (len(LEVELS) + 1) + "|"]
    rows = [f"| {name} | {' | '.join(f'{row[level]:.3f}' for level in LEVELS)} |" for name, row in table.items()]
    how = (
        f"{PICTURES} pictures of the world, 30 in 100 with a fault; {STEPS} steps of the recipe `miniature` from the bundled weights, at "
        f"{_RATE} of its rates; {NUMBER} prompts of role {ROLE} a level, checker B, one seed."
    )
    return Findings(title="Curated data", how=how, figures=[figure], below=["\n".join([*head, *rows])])


def _curated(place: Path) -> Workspace:
    render_world(place / "world", 11, PICTURES, lambda done, total: None)
    workspace = init_workspace(str(place / "workspace"), "miniature")
    folder = str(place / "world" / IMAGES_FOLDER)
    curate(workspace, [folder], executor("local", 2), lambda step, done, total, counts: None)
    return workspace


def _trained(place: Path, workspace: Workspace, snapshot_id: str, stage: int) -> ImageModel:
    usual = RECIPES["miniature"]
    optimizer = replace(
        usual.optimizer, lr=usual.optimizer.lr * _RATE, muon_lr=usual.optimizer.muon_lr * _RATE, warm_up=20
    )
    recipe = replace(
        usual, begins="weights", steps=STEPS, edits=0.0, optimizer=optimizer, show_every=STEPS, save_every=STEPS
    )
    run = place / f"stage {stage}"
    train_generator(
        recipe,
        ImageModel.load_pretrained(bundled_model()),
        offered_by_snapshot(workspace, snapshot_id),
        run,
        cache=place / "cache",
        resume=False,
        watch=lambda what, done, total, values: None,
    )
    return ImageModel.load_pretrained(run / MODEL)


def _drawn(model: ImageModel) -> dict[str, float]:
    make = drawing_exam.as_usual(model)
    return {level: drawing_exam.drawn_right(make, level, NUMBER, ROLE, 0).exact for level in LEVELS}
